// Peaks of one core for one vector width: multiply-adds on registers, and reading of an array. Compiled by roofline.py
// once per instruction set with -DVECTOR_BYTES=16, 32 or 64.
#include <cstdint>

typedef float V __attribute__((vector_size(VECTOR_BYTES), aligned(VECTOR_BYTES)));

// As many chains as the registers hold beside the two operands: more than latency x units of any processor.
constexpr int kChains = VECTOR_BYTES == 64 ? 28 : 12;
constexpr int kWidth = VECTOR_BYTES / sizeof(float);

static V all(float x) { return V{} + x; }

// Multiply-adds in `rounds` rounds of all chains; returns their number x 2, the operations.
extern "C" double multiply_adds(int64_t rounds, float a, float b, float* result) {
    V sum[kChains];
    for (int i = 0; i < kChains; ++i) sum[i] = all(0.001f * i);
    const V va = all(a), vb = all(b);
    for (int64_t n = 0; n < rounds; ++n) {
#pragma GCC unroll 28
        for (int i = 0; i < kChains; ++i) sum[i] = sum[i] * va + vb;
    }
    V total = sum[0];
    for (int i = 1; i < kChains; ++i) total += sum[i];
    *result = 0;
    for (int w = 0; w < kWidth; ++w) *result += total[w];
    return 2.0 * kWidth * kChains * double(rounds);
}

// Sum an aligned array of n floats (a multiple of 8 vectors) `rounds` times; returns the bytes read.
extern "C" double read_all(const float* x, int64_t n, int64_t rounds, float* result) {
    V sum[8] = {};
    for (int64_t r = 0; r < rounds; ++r) {
        for (int64_t k = 0; k < n; k += 8 * kWidth) {
#pragma GCC unroll 8
            for (int i = 0; i < 8; ++i) sum[i] += *reinterpret_cast<const V*>(x + k + i * kWidth);
        }
        asm volatile("" : "+r"(x));  // each round reads again
    }
    V total = sum[0];
    for (int i = 1; i < 8; ++i) total += sum[i];
    *result = 0;
    for (int w = 0; w < kWidth; ++w) *result += total[w];
    return 4.0 * double(n) * double(rounds);
}
