// One epoch of each run in the queue, all blocks on one run.
#include "train_epoch.hpp"

#include "../kernel.hpp"

namespace dash {
namespace gpu {

DASH_TEAM_KERNEL("train_epoch_team", TrainEpoch)

}  // namespace gpu
}  // namespace dash
