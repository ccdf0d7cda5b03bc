// Gradients of end states, all samples of a model to one block.
#include "solve.hpp"

#include "kernel.cuh"

namespace dash {
namespace gpu {

template <class T>
__global__ void __launch_bounds__(most_threads<T>(), 1) backward_kernel(const __grid_constant__ Launch<T> work) {
    take_jobs<T, AdjointView<T>>(work, [&](DeviceBlock block, Context<T, 1>* c, const AdjointView<T>* job, char* near,
                                           char* far) { backward(block, c, job, work.memory, near, far); });
}

extern DASH_KERNEL_TABLE(backward_table, backward_kernel);

}  // namespace gpu
}  // namespace dash
