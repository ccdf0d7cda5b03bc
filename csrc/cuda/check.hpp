// CUDA's return codes as DeviceError.
#pragma once
#include <cuda_runtime_api.h>

namespace dash {
namespace gpu {

void check(cudaError_t code, const char* what);

}  // namespace gpu
}  // namespace dash
