// The tiles of the solves in the queue, a tile to a block at a time.
#include "solve.hpp"

#include "kernel.cuh"

namespace dash {
namespace gpu {

template <class T>
__global__ void __launch_bounds__(most_threads<T>(), 1) solve_kernel(const __grid_constant__ Launch<T> work) {
    take_jobs<T, SolveView<T>>(work, [&](DeviceBlock block, Context<T, 1>* c, const SolveView<T>* job, char* near,
                                         char* far) { solve_tiles(block, c, job, work.memory, near, far); });
}

extern DASH_KERNEL_TABLE(solve_table, solve_kernel);

}  // namespace gpu
}  // namespace dash
