#include "select.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <vector>

#include "../core/types.hpp"

namespace dash {

namespace {

// Numbers that are written before they are read.
std::vector<double> room_for(int64_t count) {
    try {
        return std::vector<double>(count);
    } catch (const std::bad_alloc&) {
        throw OutOfMemory{count * int64_t(sizeof(double))};
    }
}

// The n-th smallest of the active scores, n from 1. A sample says between which two scores it must lie; what is really
// there is then counted, so that the sample has no part in the result.
double nth_smallest(const double* score, const uint8_t* mask, int64_t size, int64_t count, int64_t n) {
    constexpr int64_t kSample = 4096;
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    double low = -kInfinity, high = kInfinity;
    if (size > 16 * kSample) {
        std::vector<double> sample;
        for (int64_t k = 0; k < kSample; ++k) {
            const int64_t i = k * size / kSample;
            if (mask[i]) sample.push_back(score[i]);
        }
        std::sort(sample.begin(), sample.end());
        const double found = static_cast<double>(sample.size()), share = static_cast<double>(n) / count;
        const double middle = share * found, spread = 4 * std::sqrt(found * share * (1 - share)) + 4;
        if (middle - spread >= 0) low = sample[static_cast<size_t>(middle - spread)];
        if (middle + spread < found) high = sample[static_cast<size_t>(middle + spread)];
    }
    for (;;) {
        std::vector<double> between = room_for(count + 1);  // one more: written before it is known whether an entry belongs
        int64_t below = 0, k = 0;
        for (int64_t i = 0; i < size; ++i) {
            const double s = score[i];
            between[k] = s;
            below += mask[i] & (s < low);
            k += mask[i] & (s >= low) & (s <= high);
        }
        if (below < n && n <= below + k) {
            std::nth_element(between.begin(), between.begin() + (n - 1 - below), between.begin() + k);
            return between[n - 1 - below];
        }
        low = -kInfinity, high = kInfinity;
    }
}

}  // namespace

double select_smallest(const double* score, uint8_t* mask, int64_t size, int64_t n) {
    if (n == 0) return std::numeric_limits<double>::quiet_NaN();
    int64_t count = 0;
    for (int64_t i = 0; i < size; ++i) count += mask[i];
    const double threshold = nth_smallest(score, mask, size, count, n);
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
