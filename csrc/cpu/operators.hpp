// The operators of this instruction set, one per file.
#pragma once
#include "../core/types.hpp"

#ifndef DASH_ISA
#define DASH_ISA baseline
#endif

namespace dash {
namespace DASH_ISA {

void solve_f32(SolveArgs<float>&);
void solve_f64(SolveArgs<double>&);
void adjoint_f32(AdjointArgs<float>&);
void adjoint_f64(AdjointArgs<double>&);
void train_f32(TrainArgs<float>&);
void train_f64(TrainArgs<double>&);
void gradients_f32(GradientArgs<float>&);
void gradients_f64(GradientArgs<double>&);
void adam_step(AdamArgs&);
void prior_terms(PriorTermsArgs&);

}  // namespace DASH_ISA
}  // namespace dash
