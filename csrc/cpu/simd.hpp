// Vectors of L lanes (GCC/Clang vector extensions) and the non-linear functions on them. A lane is a sample: nothing
// here mixes lanes, so a sample's result cannot depend on its company.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "../core/types.hpp"

#ifndef DASH_ISA
#define DASH_ISA baseline
#endif

namespace dash {
namespace DASH_ISA {

template <class T, int L>
struct vec_of {
    typedef T type __attribute__((vector_size(L * sizeof(T)), may_alias));
};
template <class T, int L>
using vec = typename vec_of<T, L>::type;

template <class T, int L>
inline vec<T, L> broadcast(T x) {
    return x - vec<T, L>{};
}

template <class T, int L>
inline vec<T, L> vabs(vec<T, L> x) {
    return x < T(0) ? -x : x;
}

template <class T, int L>
inline vec<T, L> vmax(vec<T, L> a, vec<T, L> b) {
    return a > b ? a : b;
}

template <class T, int L>
inline T lane_sum(vec<T, L> x) {
    T total = x[0];
    for (int l = 1; l < L; ++l) total += x[l];
    return total;
}

// Natural logarithm of normal positive numbers; float error below 1.5 ulp (polynomial of Cephes' logf).
template <int L>
inline vec<float, L> vlog(vec<float, L> x) {
    typedef vec<int32_t, L> ints;
    const ints bits = (ints)x;
    const ints exponent = (bits - 0x3f3504f3) >> 23;  // mantissa in [sqrt(1/2), sqrt(2))
    const vec<float, L> f = (vec<float, L>)(bits - (exponent << 23)) - 1.0f;
    const vec<float, L> e = __builtin_convertvector(exponent, vec<float, L>);
    const vec<float, L> z = f * f;
    vec<float, L> p = f * 7.0376836292e-2f - 1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    vec<float, L> y = f * z * p;
    y = y - e * 2.12194440e-4f - 0.5f * z;
    return f + y + e * 0.693359375f;
}

// Exponential; float error below 2 ulp, 0 below -87.3, infinity above 88.3, NaN for NaN.
template <int L>
inline vec<float, L> vexp(vec<float, L> x) {
    typedef vec<int32_t, L> ints;
    const vec<float, L> clamped = x < -87.3f ? broadcast<float, L>(-87.3f) : (x > 88.3f ? broadcast<float, L>(88.3f) : x);
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding and subtracting it rounds to the nearest integer
    const vec<float, L> n = (clamped * 1.44269504088896341f + magic) - magic;
    const vec<float, L> r = clamped - n * 0.693359375f + n * 2.12194440e-4f;
    vec<float, L> p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    const ints scale = (__builtin_convertvector(n, ints) + 127) << 23;
    const vec<float, L> y = p * (vec<float, L>)scale;
    const vec<float, L> low = x < -87.3f ? vec<float, L>{} : y;
    return x > 88.3f ? broadcast<float, L>(HUGE_VALF) : low;
}

template <int L>
inline vec<double, L> vlog(vec<double, L> x) {
    vec<double, L> y = {};
    for (int l = 0; l < L; ++l) y[l] = ::log(x[l]);
    return y;
}

template <int L>
inline vec<double, L> vexp(vec<double, L> x) {
    vec<double, L> y = {};
    for (int l = 0; l < L; ++l) y[l] = ::exp(x[l]);
    return y;
}

// The two activations of PHOENIX at x: shifted softsign, and log(1 + softsign) without cancellation.
template <class T, int L>
inline void activations(vec<T, L> x, vec<T, L>& sums, vec<T, L>& prods) {
    const vec<T, L> u = x - T(0.5);
    const vec<T, L> a = T(1) + vabs<T, L>(u);
    sums = u / a;
    const auto rising = u >= T(0);
    const vec<T, L> argument = rising ? (a + u) / a : a;
    const vec<T, L> logarithm = vlog<L>(argument);
    prods = rising ? logarithm : -logarithm;
}

// Aligned memory that only grows and is not initialised. Throws OutOfMemory, which the bindings translate.
template <class T>
class Buffer {
  public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { std::free(data_); }

    T* reserve(int64_t n) {
        if (n > size_) {
            std::free(data_);
            data_ = allocate(n);
            size_ = n;
        }
        return data_;
    }
    T* grow(int64_t n) {  // keeps the contents
        if (n > size_) {
            T* larger = allocate(n);
            if (size_) std::memcpy(larger, data_, size_ * sizeof(T));
            std::free(data_);
            data_ = larger;
            size_ = n;
        }
        return data_;
    }
    T* zeros(int64_t n) {
        reserve(n);
        if (n) std::memset(data_, 0, n * sizeof(T));
        return data_;
    }
    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](int64_t i) { return data_[i]; }
    const T& operator[](int64_t i) const { return data_[i]; }

  private:
    static T* allocate(int64_t n) {
        void* p = nullptr;
        if (posix_memalign(&p, 64, n * sizeof(T)) != 0) throw OutOfMemory{};
        return static_cast<T*>(p);
    }

    T* data_ = nullptr;
    int64_t size_ = 0;
};

}  // namespace DASH_ISA
}  // namespace dash
