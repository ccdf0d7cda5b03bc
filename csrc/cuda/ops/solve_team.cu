// The tiles of the solves in the queue, all blocks on as many tiles as a team integrates side by side.
#include "solve.hpp"

#include "../kernel.hpp"

namespace dash {
namespace gpu {

DASH_TEAM_KERNEL("solve_team", Solve)

}  // namespace gpu
}  // namespace dash
