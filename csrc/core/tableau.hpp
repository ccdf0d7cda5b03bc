// Explicit Runge–Kutta methods, shared by every back end.
#pragma once

namespace dash {

struct Tableau {
    int stages;        // derivatives that enter the new state
    bool adaptive;     // e is there; one more derivative, at the new state, enters the error
    double a[7][7];
    double b[7];
    double e[7];       // b minus the embedded solution's weights
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
};

constexpr Tableau kRk4 = {
    4, false, {{0}, {0.5}, {0, 0.5}, {0, 0, 1.0}}, {1.0 / 6, 1.0 / 3, 1.0 / 3, 1.0 / 6}, {0},
};

constexpr const Tableau& tableau(int method) { return method == 0 ? kDopri5 : kRk4; }

}  // namespace dash
