// The tensors of the runs in the queue, a tensor to a block at a time.
#include "select.hpp"

#include "kernel.cuh"

namespace dash {
namespace gpu {

template <class T>
__global__ void __launch_bounds__(most_threads<T>(), 2) select_kernel(const __grid_constant__ Launch<T> work) {
    take_jobs<T, SelectView, SelectContext>(work, [&](DeviceBlock block, SelectContext* c, const SelectView* job, char*,
                                                      char*) { select_smallest(block, c, job); });
}

extern DASH_KERNEL_TABLE_F64(select_table, select_kernel);

}  // namespace gpu
}  // namespace dash
