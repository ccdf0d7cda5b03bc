// The branches of the runs in the queue, a branch to a block at a time.
#include "scores.hpp"

#include "kernel.cuh"

namespace dash {
namespace gpu {

template <class T>
__global__ void __launch_bounds__(most_threads<T>(), 1) scores_kernel(const __grid_constant__ Launch<T> work) {
    take_jobs<T, ScoreView, ScoreContext>(work, [&](DeviceBlock block, ScoreContext* c, const ScoreView* job, char* near,
                                                    char* far) { score_branch(block, c, job, work.memory, near, far); });
}

extern DASH_KERNEL_TABLE_F64(scores_table, scores_kernel);

}  // namespace gpu
}  // namespace dash
