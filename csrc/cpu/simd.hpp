// Vectors of the level's width (GCC/Clang vector extensions), the non-linear functions on them, and memory.
#pragma once
#ifndef DASH_ISA
#define DASH_ISA baseline
#endif
#ifndef DASH_VECTOR_BYTES
#define DASH_VECTOR_BYTES 16
#endif

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#ifdef __linux__
#include <sys/mman.h>
#endif
#if DASH_VECTOR_BYTES > 16
#include <immintrin.h>
#endif

#include "../core/types.hpp"

namespace dash {
namespace DASH_ISA {

template <class T, int N>
struct vec_of {
    typedef T type __attribute__((vector_size(N * sizeof(T)), may_alias));
};
template <class T, int N>
using vec = typename vec_of<T, N>::type;

// Elements of one vector register.
template <class T>
constexpr int kWidth = DASH_VECTOR_BYTES / static_cast<int>(sizeof(T));
// The vector of type T of this level.
template <class T>
using Vec = vec<T, kWidth<T>>;

// A number as a type.
template <int N>
struct Number {
    static constexpr int value = N;
    constexpr operator int() const { return N; }
};

// f(Number<0>{}), f(Number<1>{}), ...: what a loop would do, but the compiler then holds arrays in registers from the
// first line to the last.
template <int N, int I = 0, class F>
__attribute__((always_inline)) inline void unrolled(F&& f) {
    if constexpr (I < N) {
        f(Number<I>{});
        unrolled<N, I + 1>(f);
    }
}
#define DASH_EACH(name, count) unrolled<count>([&](auto name) __attribute__((always_inline)) {
#define DASH_END });

template <class V, class T>
inline V broadcast(T x) {
    return x - V{};
}

template <class T>
inline const Vec<T>& at(const T* p, int64_t i) {
    return reinterpret_cast<const Vec<T>*>(p)[i];
}
template <class T>
inline Vec<T>& at(T* p, int64_t i) {
    return reinterpret_cast<Vec<T>*>(p)[i];
}

template <class V>
inline V vabs(V x) {
    typedef decltype(x < x) ints;
    return (V)((ints)x & ~(ints)-V{});  // all bits but the sign
}
template <class V>
inline V vmax(V a, V b) {
    return a > b ? a : b;
}

// a0 b0 a1 b1 ... : first half in low, second half in high.
#define DASH_SHUFFLE(W, ...) \
    if constexpr (N == W) return __builtin_shufflevector(a, b, __VA_ARGS__)
template <int N, class V>
inline V interleave_low(V a, V b) {
    DASH_SHUFFLE(2, 0, 2);
    DASH_SHUFFLE(4, 0, 4, 1, 5);
    DASH_SHUFFLE(8, 0, 8, 1, 9, 2, 10, 3, 11);
    DASH_SHUFFLE(16, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
template <int N, class V>
inline V interleave_high(V a, V b) {
    DASH_SHUFFLE(2, 1, 3);
    DASH_SHUFFLE(4, 2, 6, 3, 7);
    DASH_SHUFFLE(8, 4, 12, 5, 13, 6, 14, 7, 15);
    DASH_SHUFFLE(16, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
// Sums of neighbours: those of a in the first half, those of b in the second.
template <int N, class V>
inline V even_of(V a, V b) {
    DASH_SHUFFLE(2, 0, 2);
    DASH_SHUFFLE(4, 0, 2, 4, 6);
    DASH_SHUFFLE(8, 0, 2, 4, 6, 8, 10, 12, 14);
    DASH_SHUFFLE(16, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}
template <int N, class V>
inline V odd_of(V a, V b) {
    DASH_SHUFFLE(2, 1, 3);
    DASH_SHUFFLE(4, 1, 3, 5, 7);
    DASH_SHUFFLE(8, 1, 3, 5, 7, 9, 11, 13, 15);
    DASH_SHUFFLE(16, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}
#undef DASH_SHUFFLE
template <class T>
inline Vec<T> pair_sums(Vec<T> a, Vec<T> b) {
    return even_of<kWidth<T>>(a, b) + odd_of<kWidth<T>>(a, b);
}

// The four values at p, repeated over the vector. Written with intrinsics: compilers build the same from vector
// extensions by way of the stack, which stalls. Only levels whose vectors hold more than four values have it.
#if DASH_VECTOR_BYTES == 64
inline Vec<float> repeat4(const float* p) { return (Vec<float>)_mm512_broadcast_f32x4(_mm_load_ps(p)); }
inline Vec<double> repeat4(const double* p) { return (Vec<double>)_mm512_broadcast_f64x4(_mm256_load_pd(p)); }
// The first half of the vector at p, twice; a's first half beside b's last.
inline Vec<float> repeat_half(const float* p) { return (Vec<float>)_mm512_broadcast_f32x8(_mm256_load_ps(p)); }
inline Vec<double> repeat_half(const double* p) { return (Vec<double>)_mm512_broadcast_f64x4(_mm256_load_pd(p)); }
inline Vec<float> half_and_half(Vec<float> a, Vec<float> b) {
    return (Vec<float>)_mm512_mask_blend_ps(0xff00, (__m512)a, (__m512)b);
}
inline Vec<double> half_and_half(Vec<double> a, Vec<double> b) {
    return (Vec<double>)_mm512_mask_blend_pd(0xf0, (__m512d)a, (__m512d)b);
}
#elif DASH_VECTOR_BYTES == 32
inline Vec<float> repeat4(const float* p) {
    return (Vec<float>)_mm256_broadcast_ps(reinterpret_cast<const __m128*>(p));
}
#endif

// Rows of four values that lie anywhere in x, as many as a vector holds: read those that index names, write them, and
// make a row of each of some values.
#if DASH_VECTOR_BYTES == 64
inline Vec<float> rows_of4(const float* x, const int32_t* index) {
    auto row = [&](int r) { return _mm_load_ps(x + 4 * int64_t(index[r])); };
    const __m256 low = _mm256_insertf128_ps(_mm256_castps128_ps256(row(0)), row(1), 1);
    const __m256 high = _mm256_insertf128_ps(_mm256_castps128_ps256(row(2)), row(3), 1);
    return (Vec<float>)_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
inline Vec<double> rows_of4(const double* x, const int32_t* index) {
    auto row = [&](int r) { return _mm256_load_pd(x + 4 * int64_t(index[r])); };
    return (Vec<double>)_mm512_insertf64x4(_mm512_castpd256_pd512(row(0)), row(1), 1);
}
inline void put_rows_of4(Vec<float> v, float* x, const int32_t* index) {
    const __m512 rows = (__m512)v;
    _mm_store_ps(x + 4 * int64_t(index[0]), _mm512_castps512_ps128(rows));
    _mm_store_ps(x + 4 * int64_t(index[1]), _mm512_extractf32x4_ps(rows, 1));
    _mm_store_ps(x + 4 * int64_t(index[2]), _mm512_extractf32x4_ps(rows, 2));
    _mm_store_ps(x + 4 * int64_t(index[3]), _mm512_extractf32x4_ps(rows, 3));
}
inline void put_rows_of4(Vec<double> v, double* x, const int32_t* index) {
    const __m512d rows = (__m512d)v;
    _mm256_store_pd(x + 4 * int64_t(index[0]), _mm512_castpd512_pd256(rows));
    _mm256_store_pd(x + 4 * int64_t(index[1]), _mm512_extractf64x4_pd(rows, 1));
}
inline Vec<float> each4(const float* p) {
    const __m512i order = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    return (Vec<float>)_mm512_permutexvar_ps(order, _mm512_castps128_ps512(_mm_loadu_ps(p)));
}
inline Vec<double> each4(const double* p) {
    const __m512i order = _mm512_set_epi64(1, 1, 1, 1, 0, 0, 0, 0);
    return (Vec<double>)_mm512_permutexvar_pd(order, _mm512_castpd128_pd512(_mm_loadu_pd(p)));
}
#elif DASH_VECTOR_BYTES == 32
inline Vec<float> rows_of4(const float* x, const int32_t* index) {
    const __m256 low = _mm256_castps128_ps256(_mm_load_ps(x + 4 * int64_t(index[0])));
    return (Vec<float>)_mm256_insertf128_ps(low, _mm_load_ps(x + 4 * int64_t(index[1])), 1);
}
inline void put_rows_of4(Vec<float> v, float* x, const int32_t* index) {
    _mm_store_ps(x + 4 * int64_t(index[0]), _mm256_castps256_ps128((__m256)v));
    _mm_store_ps(x + 4 * int64_t(index[1]), _mm256_extractf128_ps((__m256)v, 1));
}
inline Vec<float> each4(const float* p) {
    return (Vec<float>)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_set1_ps(p[0])), _mm_set1_ps(p[1]), 1);
}
#endif

// Natural logarithm of N vectors of normal positive numbers, in step, so that one's steps fill the waits of the others;
// float error below 1.5 ulp (polynomial of Cephes' logf).
template <int N>
inline void vlog(Vec<float> (&x)[N]) {
    typedef vec<int32_t, kWidth<float>> ints;
    typedef Vec<float> V;
    V f[N], e[N], z[N], p[N];
    DASH_EACH(i, N)
        const ints bits = (ints)x[i];
        const ints exponent = (bits - 0x3f3504f3) >> 23;  // mantissa in [sqrt(1/2), sqrt(2))
        f[i] = (V)(bits - (exponent << 23)) - 1.0f;
        e[i] = __builtin_convertvector(exponent, V);
    DASH_END
    DASH_EACH(i, N) z[i] = f[i] * f[i]; DASH_END
    DASH_EACH(i, N) p[i] = f[i] * 7.0376836292e-2f - 1.1514610310e-1f; DASH_END
    DASH_EACH(i, N) p[i] = p[i] * f[i] + 1.1676998740e-1f; DASH_END
    DASH_EACH(i, N) p[i] = p[i] * f[i] - 1.2420140846e-1f; DASH_END
    DASH_EACH(i, N) p[i] = p[i] * f[i] + 1.4249322787e-1f; DASH_END
    DASH_EACH(i, N) p[i] = p[i] * f[i] - 1.6668057665e-1f; DASH_END
    DASH_EACH(i, N) p[i] = p[i] * f[i] + 2.0000714765e-1f; DASH_END
    DASH_EACH(i, N) p[i] = p[i] * f[i] - 2.4999993993e-1f; DASH_END
    DASH_EACH(i, N) p[i] = p[i] * f[i] + 3.3333331174e-1f; DASH_END
    DASH_EACH(i, N)
        V y = f[i] * z[i] * p[i];
        y = y - e[i] * 2.12194440e-4f - 0.5f * z[i];
        x[i] = f[i] + y + e[i] * 0.693359375f;
    DASH_END
}

// Exponential; float error below 2 ulp, 0 below -87.3, infinity above 88.3, NaN for NaN.
inline Vec<float> vexp(Vec<float> x) {
    typedef vec<int32_t, kWidth<float>> ints;
    typedef Vec<float> V;
    const V least = broadcast<V>(-87.3f), most = broadcast<V>(88.3f);
    const V clamped = x < least ? least : (x > most ? most : x);
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding and subtracting it rounds to the nearest integer
    const V n = (clamped * 1.44269504088896341f + magic) - magic;
    const V r = clamped - n * 0.693359375f + n * 2.12194440e-4f;
    V p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    const ints scale = (__builtin_convertvector(n, ints) + 127) << 23;
    const V y = p * (V)scale;
    const V low = x < least ? V{} : y;
    return x > most ? broadcast<V>(HUGE_VALF) : low;
}

template <int N>
inline void vlog(Vec<double> (&x)[N]) {
    for (int i = 0; i < N; ++i)
        for (int l = 0; l < kWidth<double>; ++l) x[i][l] = ::log(x[i][l]);
}
inline Vec<double> vexp(Vec<double> x) {
    Vec<double> y = {};
    for (int l = 0; l < kWidth<double>; ++l) y[l] = ::exp(x[l]);
    return y;
}

// The two activations of PHOENIX at N vectors x: shifted softsign s, and log(1 + s) as the logarithm of a number of 1
// or more.
template <int N, class T>
__attribute__((always_inline)) inline void activations(const Vec<T> (&x)[N], T* sums, T* prods) {
    typedef Vec<T> V;
    V u[N], s[N], logarithm[N];
    DASH_EACH(i, N) u[i] = x[i] - T(0.5); DASH_END
    DASH_EACH(i, N)
        const V a = vabs(u[i]) + T(1);
        s[i] = u[i] / a;
        logarithm[i] = u[i] >= V{} ? s[i] + T(1) : a;
        at(sums, i) = s[i];
    DASH_END
    vlog(logarithm);
    DASH_EACH(i, N) at(prods, i) = u[i] >= V{} ? logarithm[i] : -logarithm[i]; DASH_END
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
            data_ = nullptr;
            size_ = 0;
            data_ = allocate(n);
            size_ = n;
        }
        return data_;
    }
    T* grow(int64_t n) {  // keeps the contents; doubles, so that growing step by step stays linear
        if (n > size_) {
            const int64_t room = n > 2 * size_ ? n : 2 * size_;
            T* larger = allocate(room);
            if (size_) std::memcpy(static_cast<void*>(larger), data_, size_ * sizeof(T));
            std::free(data_);
            data_ = larger;
            size_ = room;
        }
        return data_;
    }
    T* zeros(int64_t n) {
        reserve(n);
        if (n) std::memset(static_cast<void*>(data_), 0, n * sizeof(T));
        return data_;
    }
    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](int64_t i) { return data_[i]; }
    const T& operator[](int64_t i) const { return data_[i]; }

  private:
    static T* allocate(int64_t n) {
        const int64_t bytes = n * int64_t(sizeof(T)), huge = int64_t(2) << 20;
        void* p = nullptr;
        if (posix_memalign(&p, bytes < 2 * huge ? 64 : huge, bytes) != 0) throw OutOfMemory{bytes};
#ifdef MADV_HUGEPAGE
        if (bytes >= 2 * huge) madvise(p, bytes, MADV_HUGEPAGE);  // fewer page faults and address translations
#endif
        return static_cast<T*>(p);
    }

    T* data_ = nullptr;
    int64_t size_ = 0;
};

}  // namespace DASH_ISA
}  // namespace dash
