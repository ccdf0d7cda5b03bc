// Step-size control of the adaptive solver (Hairer, Nørsett & Wanner, Solving ODEs I, II.4): plain functions of one
// sample, shared by every back end.
#pragma once
#include <cmath>

#include "target.hpp"

namespace dash {

// First trial step from the scaled norms of the state (d0) and its derivative (d1).
inline DASH_HD double trial_step(double d0, double d1, double dt) {
    const double h = (d0 < 1e-5 || d1 < 1e-5) ? 1e-6 : 0.01 * d0 / d1;
    return h < dt ? h : dt;
}

// Starting step from the trial step and the scaled norm of the second derivative (d2).
inline DASH_HD double first_step(double trial, double d1, double d2, double dt) {
    const double steep = d1 > d2 ? d1 : d2;
    const double floor = trial * 1e-3 > 1e-6 ? trial * 1e-3 : 1e-6;
    double h = steep <= 1e-15 ? floor : std::pow(0.01 / steep, 0.2);
    if (!(h < 100 * trial)) h = 100 * trial;
    return h < dt ? h : dt;
}

// Factor on the step size after a step whose scaled error was `ratio` (accepted when at most 1).
inline DASH_HD double step_factor(double ratio) {
    if (!std::isfinite(ratio)) return 0.2;
    double factor = 0.9 * std::pow(ratio > 1e-30 ? ratio : 1e-30, -0.2);
    if (factor > 10) factor = 10;
    const double least = ratio <= 1 ? 1.0 : 0.2;
    return factor < least ? least : factor;
}

// A step of at most `longest`, where there is a limit (SolveOptions).
inline DASH_HD double limited(double h, double longest) { return longest > 0 && h > longest ? longest : h; }

// Whether a step that has become too short for its interval dt says that the state grows without bound: it would double
// in a small part of the interval. From the largest values of the state and its derivative.
inline DASH_HD bool blows_up(double state, double derivative, double dt) { return derivative * dt * 1e-9 > state; }

}  // namespace dash
