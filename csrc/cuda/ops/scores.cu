// The branches of the runs in the queue, a branch to a block at a time.
#include "scores.hpp"

#include "../kernel.hpp"

namespace dash {
namespace gpu {

DASH_KERNEL_OF("scores", Scores)

}  // namespace gpu
}  // namespace dash
