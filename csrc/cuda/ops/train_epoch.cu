// One epoch of each run in the queue, a run to a block.
#include "train_epoch.hpp"

#include "../kernel.hpp"

namespace dash {
namespace gpu {

DASH_KERNEL("train_epoch", TrainEpoch)

}  // namespace gpu
}  // namespace dash
