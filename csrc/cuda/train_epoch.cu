// One epoch of each run in the queue, a run to a block.
#include "train.hpp"

#include "kernel.cuh"

namespace dash {
namespace gpu {

template <class T>
__global__ void __launch_bounds__(most_threads<T>(), 1) train_kernel(const __grid_constant__ Launch<T> work) {
    take_jobs<T, TrainView<T>>(work, [&](DeviceBlock block, Context<T, 1>* c, const TrainView<T>* run, char* near,
                                         char* far) { train_epoch(block, c, run, work.memory, near, far); });
}

extern DASH_KERNEL_TABLE(train_table, train_kernel);

}  // namespace gpu
}  // namespace dash
