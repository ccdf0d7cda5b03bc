// Gradients of end states, all samples of a model to one block.
#include "adjoint.hpp"

#include "../kernel.hpp"

namespace dash {
namespace gpu {

DASH_KERNEL("adjoint", Adjoint)

}  // namespace gpu
}  // namespace dash
