// The tensors of the runs in the queue, a tensor to a block at a time.
#include "select.hpp"

#include "../kernel.hpp"

namespace dash {
namespace gpu {

DASH_KERNEL_OF("select", Select)

}  // namespace gpu
}  // namespace dash
