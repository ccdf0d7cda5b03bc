// The tiles of the solves in the queue, all blocks on as many tiles as a team integrates side by side.
#include "solve.hpp"

#include "kernel.cuh"

namespace dash {
namespace gpu {

template <class T>
__global__ void __launch_bounds__(most_threads<T>(), 1) solve_team_kernel(const __grid_constant__ Launch<T> work) {
    share_jobs<T, SolveView<T>>(work, [&](DeviceTeam team, Context<T, kTeamTiles>* c, const SolveView<T>* job,
                                          char* far) { solve_tiles(team, c, job, work.memory, nullptr, far); });
}

extern DASH_TEAM_TABLE(solve_team_table, solve_team_kernel);

}  // namespace gpu
}  // namespace dash
