// select: the n smallest scores among the active entries, ties broken by the lower flat index.
#pragma once
#include <cstdint>

namespace dash {

// Clear n bits of mask; returns the largest score that was removed (NaN for n = 0). Scores of active entries must be
// finite and n at most the number of active entries: the caller has checked.
double select_smallest(const double* score, uint8_t* mask, int64_t size, int64_t n);

}  // namespace dash
