// The score matrices in the queue, one to a block at a time.
#include "prior_terms.hpp"

#include "../kernel.hpp"

namespace dash {
namespace gpu {

DASH_KERNEL_OF("prior_terms", PriorTerms)

}  // namespace gpu
}  // namespace dash
