// The scalar functions of the PHOENIX right-hand side (docs/numerics.md), for back ends that work on one number at a
// time.
#pragma once
#include <cmath>

#include "target.hpp"

namespace dash {

// The two activations at x: shifted softsign, and its log(1 + s) as the logarithm of a number of 1 or more.
template <class T>
inline DASH_HD void activations(T x, T& sums, T& prods) {
    const T u = x - T(0.5);
    const T a = std::fabs(u) + T(1);
    const T s = u / a;
    const bool rising = u >= T(0);
    const T logarithm = std::log(rising ? s + T(1) : a);
    sums = s;
    prods = rising ? logarithm : -logarithm;
}

// Gradient for x from those for both activations, which are given by their value `sums`.
template <class T>
inline DASH_HD T activations_reverse(T sums, T sums_bar, T prods_bar) {
    const T near = T(1) - std::fabs(sums);  // 1 / (1 + |u|)
    return near * near * (sums_bar + prods_bar / (T(1) + sums));
}

// One step of Adam (Kingma & Ba 2015) for one weight; the corrections are those of docs/numerics.md.
template <class T>
struct AdamConstants {
    T beta1, beta2, rest1, rest2, eps;  // rest = 1 - beta
    T scale2;                           // 1 / sqrt(1 - beta2^step)
};

template <class T>
inline DASH_HD T adam_step(const AdamConstants<T>& c, T rate, T gradient, T weight, T& moment1, T& moment2) {
    moment1 = c.beta1 * moment1 + c.rest1 * gradient;
    moment2 = c.beta2 * moment2 + c.rest2 * (gradient * gradient);
    return weight - rate * moment1 / (std::sqrt(moment2) * c.scale2 + c.eps);
}

}  // namespace dash
