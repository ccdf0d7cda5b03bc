// regulators: greedy search for the regulators of one gene.
#include "../operators.hpp"
#include "../search.hpp"

namespace dash {
namespace DASH_ISA {

static void regulators(RegulatorsArgs& args) { Search(args).run(); }

DASH_OPERATOR_OF(RegulatorsArgs, regulators)

}  // namespace DASH_ISA
}  // namespace dash
