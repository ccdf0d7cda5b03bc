#include "order.hpp"

#include <algorithm>

namespace dash {

void longest_first(const double* length, int64_t* index, int64_t n) {
    std::stable_sort(index, index + n, [=](int64_t a, int64_t b) { return length[a] > length[b]; });
}

}  // namespace dash
