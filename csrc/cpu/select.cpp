#include "select.hpp"

#include <algorithm>
#include <limits>
#include <vector>

namespace dash {

double select_smallest(const double* score, uint8_t* mask, int64_t size, int64_t n) {
    if (n == 0) return std::numeric_limits<double>::quiet_NaN();
    std::vector<double> active;
    for (int64_t i = 0; i < size; ++i)
        if (mask[i]) active.push_back(score[i]);
    std::nth_element(active.begin(), active.begin() + (n - 1), active.end());
    const double threshold = active[n - 1];
    int64_t ties = n;
    for (int64_t i = 0; i < size; ++i)
        if (mask[i] && score[i] < threshold) --ties;
    for (int64_t i = 0; i < size; ++i) {
        if (!mask[i]) continue;
        if (score[i] < threshold)
            mask[i] = 0;
        else if (score[i] == threshold && ties > 0)
            mask[i] = 0, --ties;
    }
    return threshold;
}

}  // namespace dash
