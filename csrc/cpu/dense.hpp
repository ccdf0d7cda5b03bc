// Products with a dense matrix in panels: M[k][n] stands at panel[n / 16][k][n % 16], so that a kernel streams it.
// Every output is one chain of multiply-adds in the order of k: the compressed form, which leaves out zeros, has the
// same bits.
#pragma once
#include "tile.hpp"

namespace dash {
namespace DASH_ISA {

// y[n][4] = start[n] + sum_k M[k][n] x[k][4], weights in lanes: vectors first .. first + B - 1 of the outputs.
template <class T, int B>
inline void dense_block4(const T* panels, int64_t K, int64_t first_vector, const T* x, T* y, const T* start) {
    typedef Vec<T> V;
    constexpr int W = kWidth<T>, per = kPanel / W;  // vectors in a panel
    V sum[B][4];
    const T* row[B];
    for (int b = 0; b < B; ++b) {
        const int64_t v = first_vector + b;
        row[b] = panels + (v / per) * K * kPanel + (v % per) * W;
        const V first = start ? at(start, v) : V{};
        for (int s = 0; s < 4; ++s) sum[b][s] = first;
    }
    for (int64_t k = 0; k < K; ++k)
        for (int b = 0; b < B; ++b) {
            const V m = *reinterpret_cast<const V*>(row[b] + k * kPanel);
            for (int s = 0; s < 4; ++s) sum[b][s] += m * x[k * 4 + s];
        }
    for (int b = 0; b < B; ++b) {
        const V p0 = interleave_low<W>(sum[b][0], sum[b][2]), p1 = interleave_high<W>(sum[b][0], sum[b][2]);
        const V q0 = interleave_low<W>(sum[b][1], sum[b][3]), q1 = interleave_high<W>(sum[b][1], sum[b][3]);
        T* out = y + (first_vector + b) * W * 4;
        at(out, 0) = interleave_low<W>(p0, q0);
        at(out, 1) = interleave_high<W>(p0, q0);
        at(out, 2) = interleave_low<W>(p1, q1);
        at(out, 3) = interleave_high<W>(p1, q1);
    }
}

// y[n][L] = start[n] + sum_k M[k][n] x[k][L], samples in lanes: R outputs at once.
template <class T, int L, int R>
inline void dense_block_lanes(const T* panel, int64_t K, const T* x, T* y, const T* start) {
    typedef Vec<T> V;
    constexpr int parts = Layout<T, L>::parts;
    V sum[R][parts];
    for (int r = 0; r < R; ++r)
        for (int p = 0; p < parts; ++p) sum[r][p] = start ? broadcast<V>(start[r]) : V{};
    for (int64_t k = 0; k < K; ++k) {
        V xk[parts];
        for (int p = 0; p < parts; ++p) xk[p] = at(x + k * L, p);
        for (int r = 0; r < R; ++r)
            for (int p = 0; p < parts; ++p) sum[r][p] += panel[k * kPanel + r] * xk[p];
    }
    for (int r = 0; r < R; ++r)
        for (int p = 0; p < parts; ++p) at(y + r * L, p) = sum[r][p];
}

template <class T, int L>
inline void dense_apply(const T* panels, int64_t K, int64_t N, const T* x, T* y, const T* start) {
    if constexpr (L == 4) {
        constexpr int most = DASH_VECTOR_BYTES == 64 ? 4 : 2;  // accumulators: 16 of 32 registers, or 8 of 16
        const int64_t vectors = padded(N) / kWidth<T>;
        int64_t v = 0;
        auto run = [&](auto count) {
            constexpr int B = decltype(count)::value;
            dense_block4<T, B>(panels, K, v, x, y, start);
            v += B;
        };
        while (v + most <= vectors) run(Lanes<most>{});
        if (vectors - v == 3) run(Lanes<3>{});
        if (vectors - v == 2) run(Lanes<2>{});
        if (vectors - v == 1) run(Lanes<1>{});
    } else {
        constexpr int rows = (DASH_VECTOR_BYTES == 64 ? 16 : 8) / Layout<T, L>::parts;
        static_assert(rows >= 1, "a tile is at most eight vectors wide");
        for (int64_t n = 0; n < padded(N); n += rows)
            dense_block_lanes<T, L, rows>(panels + n / kPanel * K * kPanel + n % kPanel, K, x, y + n * L,
                                          start ? start + n : nullptr);
    }
}

// grad[h][g] += sum over slots and samples of left[slot][h] * right[slot][g] for one panel of genes: grad is the
// panel's [m][16]. Sums over samples end in a tree.
template <class T, int L>
inline void dense_outer(const T* left, const T* right, int64_t stride, int64_t slots, int64_t m, int64_t panel,
                        T* grad) {
    typedef Vec<T> V;
    constexpr int W = kWidth<T>;
    const T* first = right + panel * kPanel * L;
    if constexpr (W > L) {
        static_assert(L == 4, "narrow tiles have four samples");
        constexpr int R = DASH_VECTOR_BYTES == 64 ? 4 : 2;  // hidden units at once, times four vectors of genes
        auto block = [&](auto count, int64_t h) {
            constexpr int H = decltype(count)::value;
            for (int64_t g = 0; g < kPanel; g += W) {
                V sum[H][4] = {};
                for (int64_t s = 0; s < slots; ++s) {
                    const T* b = first + g * 4 + s * stride;
                    for (int i = 0; i < H; ++i) {
                        const V a = repeat4(left + s * stride + (h + i) * 4);
                        for (int j = 0; j < 4; ++j) sum[i][j] += a * at(b, j);
                    }
                }
                for (int i = 0; i < H; ++i)
                    at(grad + (h + i) * kPanel + g, 0) += pair_sums<T>(pair_sums<T>(sum[i][0], sum[i][1]),
                                                                      pair_sums<T>(sum[i][2], sum[i][3]));
            }
        };
        int64_t h = 0;
        for (; h + R <= m; h += R) block(Lanes<R>{}, h);
        for (; h < m; ++h) block(Lanes<1>{}, h);
    } else {
        constexpr int parts = Layout<T, L>::parts;
        constexpr int H = W >= 16 ? 4 : (W >= 4 ? 2 : 1), C = W / H;  // W sums at once
        auto block = [&](auto count, int64_t h) {
            constexpr int rows = decltype(count)::value;
            constexpr int cols = W / rows;
            for (int64_t g = 0; g < kPanel; g += cols) {
                V sum[W] = {};
                for (int64_t s = 0; s < slots; ++s)
                    for (int p = 0; p < parts; ++p)
                        for (int i = 0; i < rows; ++i) {
                            const V a = at(left + s * stride + (h + i) * L, p);
                            for (int j = 0; j < cols; ++j)
                                sum[i * cols + j] += a * at(first + (g + j) * L + s * stride, p);
                        }
                for (int n = W; n > 1; n /= 2)
                    for (int k = 0; k < n / 2; ++k) sum[k] = pair_sums<T>(sum[2 * k], sum[2 * k + 1]);
                for (int i = 0; i < rows; ++i)
                    for (int j = 0; j < cols; ++j) grad[(h + i) * kPanel + g + j] += sum[0][i * cols + j];
            }
        };
        static_assert(H * C == W, "the block gives one vector of sums");
        int64_t h = 0;
        for (; h + H <= m; h += H) block(Lanes<H>{}, h);
        for (; h < m; ++h) block(Lanes<1>{}, h);
    }
}

}  // namespace DASH_ISA
}  // namespace dash
