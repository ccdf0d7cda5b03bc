// The order in which samples are put into tiles.
#pragma once
#include <cstdint>

namespace dash {

// Sort index [n] by length[index], the longest first; those of equal length keep their order.
void longest_first(const double* length, int64_t* index, int64_t n);

}  // namespace dash
