// Adam (Kingma & Ba 2015) without weight decay, on arrays in any order.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#ifndef DASH_ISA
#define DASH_ISA baseline
#endif

namespace dash {
namespace DASH_ISA {

template <class T>
struct Exponent;
template <>
struct Exponent<float> {
    typedef uint32_t Bits;
    static constexpr Bits all = 0x7f800000u;  // of infinity and NaN
};
template <>
struct Exponent<double> {
    typedef uint64_t Bits;
    static constexpr Bits all = 0x7ff0000000000000u;
};

template <class T>
inline bool all_finite(const T* values, int64_t n) {
    typedef Exponent<T> E;
    typename E::Bits bad = 0;
    for (int64_t k = 0; k < n; ++k) {
        typename E::Bits bits;
        std::memcpy(&bits, values + k, sizeof(T));
        bad |= (bits & E::all) == E::all;
    }
    return bad == 0;
}

// The constants of one step; `step` counts from 1.
template <class T>
struct AdamStep {
    T b1, b2, r1, r2, eps, scale2;
    double correction1;

    AdamStep(double beta1, double beta2, double eps_, int64_t step)
        : b1(static_cast<T>(beta1)), b2(static_cast<T>(beta2)), r1(static_cast<T>(1 - beta1)),
          r2(static_cast<T>(1 - beta2)), eps(static_cast<T>(eps_)),
          scale2(static_cast<T>(1 / std::sqrt(1 - std::pow(beta2, double(step))))),
          correction1(1 - std::pow(beta1, double(step))) {}

    // n values w with gradients g and moments m1 and m2; where `active` (null: all are) is 0, all of these become 0.
    void run(double lr, int64_t n, T* w, T* m1, T* m2, T* g, const uint8_t* active) const {
        const T rate = static_cast<T>(lr / correction1);
        if (active)
            for (int64_t k = 0; k < n; ++k) g[k] = active[k] ? g[k] : T(0);
        for (int64_t k = 0; k < n; ++k) {
            m1[k] = b1 * m1[k] + r1 * g[k];
            m2[k] = b2 * m2[k] + r2 * (g[k] * g[k]);
            w[k] -= rate * m1[k] / (std::sqrt(m2[k]) * scale2 + eps);
        }
        if (active)
            for (int64_t k = 0; k < n; ++k)
                if (!active[k]) w[k] = m1[k] = m2[k] = T(0);
    }
};

}  // namespace DASH_ISA
}  // namespace dash
