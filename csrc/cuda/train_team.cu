// One epoch of each run in the queue, all blocks on one run.
#include "train.hpp"

#include "kernel.cuh"

namespace dash {
namespace gpu {

template <class T>
__global__ void __launch_bounds__(most_threads<T>(), 1) train_team_kernel(const __grid_constant__ Launch<T> work) {
    share_jobs<T, TrainView<T>>(work, [&](DeviceTeam team, Context<T, kTeamTiles>* c, const TrainView<T>* run,
                                          char* far) { train_epoch(team, c, run, work.memory, nullptr, far); });
}

extern DASH_TEAM_TABLE(train_team_table, train_team_kernel);

}  // namespace gpu
}  // namespace dash
