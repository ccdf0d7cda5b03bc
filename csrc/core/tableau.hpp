// Explicit Runge–Kutta methods, shared by every back end.
#pragma once

namespace dash {

// Estimate of the local error of a method's discrete adjoint: the sum of d[i] times the gradient for the state of stage
// i. It is weight * (h J)^order times the adjoint where the Jacobian J is constant; terms of lower order cancel, also
// with a Jacobian that changes: up to h^3 for dopri5, h^2 for rk4.
struct AdjointError {
    int order;
    double d[6];
    double weight;
    double ratio[6];   // of the stability polynomial's coefficients: the k-th to the one before
    double tolerance;  // of the error that reaches the start, relative to the gradient: an error of at most 1 %
    double reach;      // rate times step with which that is met by a mode that decays in one step
};

struct Tableau {
    int stages;        // derivatives that enter the new state
    bool adaptive;     // e is there; one more derivative, at the new state, enters the error
    double a[7][7];
    double b[7];
    double e[7];       // b minus the embedded solution's weights
    AdjointError adjoint;
};

// Dormand & Prince 1980, RK5(4)7M.
constexpr Tableau kDopri5 = {
    6,
    true,
    {{0},
     {1.0 / 5},
     {3.0 / 40, 9.0 / 40},
     {44.0 / 45, -56.0 / 15, 32.0 / 9},
     {19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729},
     {9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656},
     {0}},
    {35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84, 0},
    {71.0 / 57600, 0, -71.0 / 16695, 71.0 / 1920, -17253.0 / 339200, 22.0 / 525, -1.0 / 40},
    {6,
     {1, 0, -1.0 / 2, 1, 145.0 / 81, 5.0 / 11},
     1.0 / 600,
     {1, 1.0 / 2, 1.0 / 3, 1.0 / 4, 1.0 / 5, 1.0 / 5},
     0.025,
     1.3},
};

constexpr Tableau kRk4 = {
    4,
    false,
    {{0}, {0.5}, {0, 0.5}, {0, 0, 1.0}},
    {1.0 / 6, 1.0 / 3, 1.0 / 3, 1.0 / 6},
    {0},
    {4, {1, -1, 0, 1}, 1.0 / 24, {1, 1.0 / 2, 1.0 / 3, 1.0 / 4}, 0.05, 0.85},
};

constexpr const Tableau& tableau(int method) { return method == 0 ? kDopri5 : kRk4; }

}  // namespace dash
