// The table of one instruction set, found by the dispatcher under its name.
#include "operators.hpp"

#define DASH_TEXT_(x) #x
#define DASH_TEXT(x) DASH_TEXT_(x)

namespace dash {
namespace DASH_ISA {

extern const Operators operators;
const Operators operators = {DASH_TEXT(DASH_ISA), solve_f32,     solve_f64,     adjoint_f32, adjoint_f64, train_f32,
                             train_f64,           gradients_f32, gradients_f64, adam_step,   prior_terms};

}  // namespace DASH_ISA
}  // namespace dash
