// What counts in the loss: an end value that is NaN was not observed.
#pragma once
#include <cmath>
#include <cstdint>

#include "target.hpp"

namespace dash {

// Error of a predicted end value; 0 where nothing was observed.
template <class T>
inline DASH_HD T missed_by(T predicted, T observed) {
    return observed == observed ? predicted - observed : T(0);
}

// Observed values of a batch's end states in y1 [N, G]; 1 when there are none, so that its loss is 0.
template <class T>
inline int64_t observed_values(const T* y1, int64_t G, const int64_t* index, int64_t B) {
    int64_t count = 0;
    for (int64_t k = 0; k < B; ++k)
        for (int64_t g = 0; g < G; ++g) count += y1[index[k] * G + g] == y1[index[k] * G + g];
    return count ? count : 1;
}

}  // namespace dash
