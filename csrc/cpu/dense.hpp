// Products with a dense matrix in panels: M[k][n] stands at panel[n / 16][k][n % 16], so that a kernel streams it.
// Every output is one chain of multiply-adds in the order of k, then of the next factor's k: the compressed form, which
// leaves out zeros, has the same bits.
#pragma once
#include "tile.hpp"

namespace dash {
namespace DASH_ISA {

// A matrix, with K rows in each panel, and the tile that it multiplies.
template <class T>
struct Factor {
    const T* panels;
    int64_t K;
    const T* x;

    const T* row(int64_t n) const { return panels + n / kPanel * K * kPanel + n % kPanel; }
};

// y[n][4] = start + sums over k of M[k][n] x[k][4], weights in lanes: vectors first .. first + B - 1 of the outputs and,
// with kHalf, the first half of the next one, which takes two samples at a time.
template <class T, int B, bool kHalf, class Finish>
inline void dense_block4(const Factor<T>* factor, int factors, int64_t first, const Start<T>& start, Finish finish) {
    typedef Vec<T> V;
    constexpr int W = kWidth<T>;
    V sum[B > 0 ? B : 1][4], half[2];
    DASH_EACH(b, B)
        V from[4];
        if (start.tile) {
            const T* tile = start.tile + (first + b) * W * 4;
            const V p0 = even_of<W>(at(tile, 0), at(tile, 1)), q0 = odd_of<W>(at(tile, 0), at(tile, 1));
            const V p1 = even_of<W>(at(tile, 2), at(tile, 3)), q1 = odd_of<W>(at(tile, 2), at(tile, 3));
            from[0] = even_of<W>(p0, p1), from[2] = odd_of<W>(p0, p1);
            from[1] = even_of<W>(q0, q1), from[3] = odd_of<W>(q0, q1);
        } else {
            from[0] = from[1] = from[2] = from[3] = start.numbers ? at(start.numbers, first + b) : V{};
        }
        DASH_EACH(s, 4) sum[b][s] = from[s]; DASH_END
    DASH_END
    if constexpr (kHalf) half[0] = half[1] = start.numbers ? repeat_half(start.numbers + (first + B) * W) : V{};
    for (int f = 0; f < factors; ++f) {
        const T *x = factor[f].x, *row[B + 1];
        DASH_EACH(b, B + kHalf) row[b] = factor[f].row((first + b) * W); DASH_END
        const int64_t end = factor[f].K * kPanel;
        for (int64_t k = 0; k < end; k += kPanel, x += 4) {
            V xs[4];
            DASH_EACH(s, 4) xs[s] = broadcast<V>(x[s]); DASH_END
            DASH_EACH(b, B)
                const V m = at(row[b] + k, 0);
                DASH_EACH(s, 4) sum[b][s] += m * xs[s]; DASH_END
            DASH_END
            if constexpr (kHalf) {
                const V m = repeat_half(row[B] + k);
                half[0] += m * half_and_half(xs[0], xs[1]);
                half[1] += m * half_and_half(xs[2], xs[3]);
            }
        }
    }
    DASH_EACH(b, B)
        const V p0 = interleave_low<W>(sum[b][0], sum[b][2]), p1 = interleave_high<W>(sum[b][0], sum[b][2]);
        const V q0 = interleave_low<W>(sum[b][1], sum[b][3]), q1 = interleave_high<W>(sum[b][1], sum[b][3]);
        const int64_t out = (first + b) * 4;
        finish(out, interleave_low<W>(p0, q0));
        finish(out + 1, interleave_high<W>(p0, q0));
        finish(out + 2, interleave_low<W>(p1, q1));
        finish(out + 3, interleave_high<W>(p1, q1));
    DASH_END
    if constexpr (kHalf) {
        const V p = interleave_low<W>(half[0], half[1]), q = interleave_high<W>(half[0], half[1]);
        finish((first + B) * 4, interleave_low<W>(p, q));
        finish((first + B) * 4 + 1, interleave_high<W>(p, q));
    }
}

// y[n][L] = start + sums over k of M[k][n] x[k][L], samples in lanes: R outputs from n on.
template <class T, int L, int R, class Finish>
inline void dense_block_lanes(const Factor<T>* factor, int factors, int64_t n, const Start<T>& start, Finish finish) {
    typedef Vec<T> V;
    constexpr int parts = Layout<T, L>::parts;
    V sum[R][parts];
    DASH_EACH(r, R)
        DASH_EACH(p, parts)
            sum[r][p] = start.tile      ? at(start.tile + (n + r) * L, p)
                        : start.numbers ? broadcast<V>(start.numbers[n + r])
                                        : V{};
        DASH_END
    DASH_END
    for (int f = 0; f < factors; ++f) {
        const T *x = factor[f].x, *row = factor[f].row(n);
        for (int64_t k = 0; k < factor[f].K; ++k, x += L, row += kPanel) {
            V xk[parts];
            DASH_EACH(p, parts) xk[p] = at(x, p); DASH_END
            DASH_EACH(r, R)
                DASH_EACH(p, parts) sum[r][p] += row[r] * xk[p]; DASH_END
            DASH_END
        }
    }
    DASH_EACH(r, R)
        DASH_EACH(p, parts) finish((n + r) * parts + p, sum[r][p]); DASH_END
    DASH_END
}

// The product of N outputs; finish(i, vector) takes vector i of the result. Whole vectors are computed: outputs from N
// on, up to the next multiple of the vector's width or of 8, meet the panels' zeros.
template <class T, int L, class Finish>
inline void dense_apply(const Factor<T>* factor, int factors, int64_t N, const Start<T>& start, Finish finish) {
    if constexpr (L == 4) {
        constexpr int W = kWidth<T>;
        constexpr int most = DASH_VECTOR_BYTES == 64 ? 4 : 2;  // accumulators: 16 of 32 registers, or 8 of 16
        const bool half = DASH_VECTOR_BYTES == 64 && N % W > 0 && N % W <= W / 2;
        int64_t v = 0, left = half ? N / W : (N + W - 1) / W;
        auto run = [&](auto count) {
            constexpr int B = decltype(count)::value;
            dense_block4<T, B, false>(factor, factors, v, start, finish);
            v += B, left -= B;
        };
        const int64_t beside = half ? (left < 2 ? left : 2) : 0;  // whole vectors of the block with the half one
        left -= beside;
        while (left >= 7 || left == 4) run(Number<most>{});
        // 5 and 6 are 3 and what is left: one vector alone has too few chains
        if constexpr (most == 4) {
            if (left >= 3) run(Number<3>{});
            if (left == 3) run(Number<3>{});
        }
        while (left >= 2) run(Number<2>{});
        if (left == 1) run(Number<1>{});
        if constexpr (DASH_VECTOR_BYTES == 64) {
            if (half && beside == 2) dense_block4<T, 2, true>(factor, factors, v, start, finish);
            if (half && beside == 1) dense_block4<T, 1, true>(factor, factors, v, start, finish);
            if (half && beside == 0) dense_block4<T, 0, true>(factor, factors, v, start, finish);
        }
    } else {
        constexpr int rows = (DASH_VECTOR_BYTES == 64 ? 16 : 8) / Layout<T, L>::parts;
        static_assert(rows >= 1 && kPanel % rows == 0, "a tile is at most eight vectors wide");
        int64_t n = 0;
        for (; n + rows <= N; n += rows) dense_block_lanes<T, L, rows>(factor, factors, n, start, finish);
        if constexpr (rows > 8)
            if (n < N && n + 8 >= N) {
                dense_block_lanes<T, L, 8>(factor, factors, n, start, finish);
                return;
            }
        if (n < N) dense_block_lanes<T, L, rows>(factor, factors, n, start, finish);
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
                V sum[H][4];
                DASH_EACH(i, H)
                    DASH_EACH(j, 4) sum[i][j] = V{}; DASH_END
                DASH_END
                const T *a = left + h * 4, *b = first + g * 4;
                for (int64_t s = 0; s < slots; ++s, a += stride, b += stride) {
                    DASH_EACH(i, H)
                        const V four = repeat4(a + i * 4);
                        DASH_EACH(j, 4) sum[i][j] += four * at(b, j); DASH_END
                    DASH_END
                }
                DASH_EACH(i, H)
                    at(grad + (h + i) * kPanel + g, 0) +=
                        pair_sums<T>(pair_sums<T>(sum[i][0], sum[i][1]), pair_sums<T>(sum[i][2], sum[i][3]));
                DASH_END
            }
        };
        int64_t h = 0;
        for (; h + R <= m; h += R) block(Number<R>{}, h);
        for (; h < m; ++h) block(Number<1>{}, h);
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
        for (; h + H <= m; h += H) block(Number<H>{}, h);
        for (; h < m; ++h) block(Number<1>{}, h);
    }
}

}  // namespace DASH_ISA
}  // namespace dash
