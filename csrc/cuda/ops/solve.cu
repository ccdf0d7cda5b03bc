// The tiles of the solves in the queue, a tile to a block at a time.
#include "solve.hpp"

#include "../kernel.hpp"

namespace dash {
namespace gpu {

DASH_KERNEL("solve", Solve)

}  // namespace gpu
}  // namespace dash
