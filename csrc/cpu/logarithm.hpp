// Exponentials and logarithms of vectors of doubles, to the last bits but one or two.
#pragma once
#include "simd.hpp"

namespace dash {
namespace DASH_ISA {
namespace {

typedef Vec<double> Doubles;
typedef vec<int64_t, kWidth<double>> Integers;

// 1.5 * 2^52: adding it to a number leaves the nearest whole number in the last bits.
constexpr double kMagic = 6755399441055744.0;
constexpr int64_t kMagicBits = 0x4338000000000000;
constexpr double kLn2High = 6.93147180369123816490e-01, kLn2Low = 1.90821492927058770002e-10;

// e^x; below -708 it is e^-708, above 709 e^709.
inline Doubles exponential(Doubles x) {
    const Doubles low = broadcast<Doubles>(-708.0), high = broadcast<Doubles>(709.0);
    x = x < low ? low : x > high ? high : x;
    const Doubles shifted = x * 1.44269504088896340736 + kMagic, n = shifted - kMagic;
    const Doubles r = (x - n * kLn2High) - n * kLn2Low;  // in [-0.35, 0.35], where 13 terms of the series are enough
    Doubles sum = broadcast<Doubles>(1.0 / 6227020800.0);
    constexpr double term[] = {1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0, 1.0 / 362880.0, 1.0 / 40320.0,
                               1.0 / 5040.0,      1.0 / 720.0,      1.0 / 120.0,     1.0 / 24.0,     1.0 / 6.0,
                               0.5,               1.0,              1.0};
    for (const double one : term) sum = sum * r + one;
    return sum * (Doubles)(((Integers)shifted - kMagicBits + 1023) << 52);
}

// ln x of normal positive numbers, by the series of artanh((m - 1) / (m + 1)) for a mantissa m in [sqrt(1/2), sqrt(2)).
inline Doubles logarithm(Doubles x) {
    const Integers bits = (Integers)x, exponent = (bits - 0x3fe6a09e667f3bcd) >> 52;
    const Doubles f = (Doubles)(bits - (exponent << 52)) - 1.0, e = (Doubles)(exponent + kMagicBits) - kMagic;
    const Doubles s = f / (f + 2.0), z = s * s;
    Doubles sum = broadcast<Doubles>(2.0 / 23);
    for (int k = 21; k > 1; k -= 2) sum = sum * z + 2.0 / k;
    // ln m = 2 s + s z sum = f - s f + s z sum
    return e * kLn2High + (f + (e * kLn2Low + s * (z * sum - f)));
}

// ln(1 + x) of numbers of 0 or more.
inline Doubles logarithm_of_1_and(Doubles x) {
    const Doubles u = x + 1.0;
    return logarithm(u) + (x - (u - 1.0)) / u;
}

}  // namespace
}  // namespace DASH_ISA
}  // namespace dash
