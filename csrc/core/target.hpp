// Plain functions of csrc/core/ run on both sides of a CUDA build.
#pragma once

#ifdef __CUDACC__
#define DASH_HD __host__ __device__
#else
#define DASH_HD
#endif
