// Whether the discrete adjoint of a solve can be trusted (docs/numerics.md, "Gradients that can be trusted"): plain
// functions of one sample, shared by every back end. The local error of the state does not see modes at rest; their
// adjoint may be multiplied by anything. The reverse sweep therefore estimates its own error.
#pragma once
#include <cmath>

#include "tableau.hpp"
#include "target.hpp"

namespace dash {

// Of one sample, from the end of its interval to the current step.
struct Trust {
    double integral;  // of the adjoint over time: sum over steps of |rates * sum of the stages' upstream gradients|
    double error;     // of the adjoint, carried to the current time
    double rate;      // of the modes that carry it, 1 / time
    double peak;      // largest error / rate
    double fastest;   // largest rate seen
    double longest;   // step
    int finite;
};

DASH_HD constexpr Trust fresh_trust() { return {0, 0, 0, 0, 0, 0, 1}; }

// What a step multiplies a mode with, whose rate times the step is z.
inline DASH_HD double decay(const AdjointError& method, double z) {
    double sum = 1;
    for (int k = method.order; k > 0; --k) sum = 1 - z * method.ratio[k - 1] * sum;
    return std::fabs(sum);
}

// A step of size h, from the squared norms of its error estimate, of the adjoint that enters and of its integral, all
// times the genes' rates relu(v).
inline DASH_HD void trust_step(Trust& t, const AdjointError& method, double h, double error2, double adjoint2,
                               double integral2) {
    if (!(h > 0)) return;
    if (h > t.longest) t.longest = h;
    if (!std::isfinite(error2 + adjoint2 + integral2)) t.finite = 0;
    if (!t.finite) return;
    // what the error itself adds to the integral, the error of the next step takes away
    const double added = t.error > 0 ? std::sqrt(integral2) - t.error / t.rate : std::sqrt(integral2);
    if (added > 0) t.integral += added;
    const double carried = t.error * decay(method, t.rate * h);
    double error = std::sqrt(error2);
    const double adjoint = std::sqrt(adjoint2);
    // rounding and what is too small to count say nothing of rates
    if (error > 1e-5 * adjoint && error * h > 1e-9 * t.integral) {
        const double rate = std::pow(error / (method.weight * adjoint), 1.0 / method.order) / h;
        if (error >= carried) t.rate = rate;
        if (rate > t.fastest) t.fastest = rate;
    } else {
        error = 0;
    }
    t.error = carried + error;
    if (t.error > 0 && t.error > t.peak * t.rate) t.peak = t.error / t.rate;
}

// How often a batch may be done again with shorter steps: each try shortens them by 30 % or more.
constexpr int kTries = 64;

// The longest step with which to try again, or infinity where the gradient is right.
inline DASH_HD double trusted_step(const Trust& t, const AdjointError& method) {
    if (!t.finite) return t.longest / 8;
    const bool small = t.error <= method.tolerance * t.integral * t.rate && t.peak <= t.integral;
    if (small || t.error == 0) return INFINITY;
    const double step = method.reach / t.fastest, shorter = 0.7 * t.longest;
    return step < shorter ? step : shorter;
}

}  // namespace dash
