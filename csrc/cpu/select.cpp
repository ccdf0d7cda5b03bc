#include "select.hpp"

#include <algorithm>
#include <limits>
#include <vector>

namespace dash {

double select_smallest(const double* score, uint8_t* mask, int64_t size, int64_t n) {
    if (n == 0) return std::numeric_limits<double>::quiet_NaN();
    int64_t count = 0;
    for (int64_t i = 0; i < size; ++i) count += mask[i];
    std::vector<double> active(count + 1);  // one more: written to before it is known whether an entry is active
    for (int64_t i = 0, k = 0; i < size; ++i) {
        active[k] = score[i];
        k += mask[i];
    }
    std::nth_element(active.begin(), active.begin() + (n - 1), active.begin() + count);
    const double threshold = active[n - 1];
    int64_t below = 0, equal = 0;
    for (int64_t i = 0; i < size; ++i) {
        below += mask[i] & (score[i] < threshold);
        equal += mask[i] & (score[i] == threshold);
    }
    if (below + equal == n) {
        for (int64_t i = 0; i < size; ++i) mask[i] &= !(score[i] <= threshold);
        return threshold;
    }
    int64_t ties = n - below;
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
