// A tile holds L samples side by side: array[gene][L]. A vector holds several genes (width > L), one gene, or a part of
// one. Nothing here mixes samples, and sums over genes run in one order for every L and width: a sample's bits depend
// neither on its lane nor on its company.
#pragma once
#include "order.hpp"
#include "simd.hpp"

namespace dash {
namespace DASH_ISA {

// Genes and hidden units are padded to whole panels; padded rows never act (their weights and rates are 0).
constexpr int64_t kPanel = 16;
inline int64_t padded(int64_t n) { return (n + kPanel - 1) / kPanel * kPanel; }

template <class T, int L>
struct Layout {
    static constexpr int width = kWidth<T>;
    static constexpr int genes = width > L ? width / L : 1;  // genes in a vector
    static constexpr int parts = width > L ? 1 : L / width;  // vectors of a gene
    static int64_t vectors(int64_t rows) { return (rows * L + width - 1) / width; }
};

// Rows that lie anywhere in a tile, as many as a vector holds (or part p of one row): get, put, and a number per row.
template <class T, int L>
inline Vec<T> rows_at(const T* tile, const int32_t* row, int p) {
    if constexpr (Layout<T, L>::genes > 1)
        return rows_of4(tile, row);
    else
        return at(tile + int64_t(row[0]) * L, p);
}
template <class T, int L>
inline void put_rows(Vec<T> v, T* tile, const int32_t* row, int p) {
    if constexpr (Layout<T, L>::genes > 1) {
        put_rows_of4(v, tile, row);
    } else {
        at(tile + int64_t(row[0]) * L, p) = v;
    }
}
template <class T, int L>
inline Vec<T> spread(const T* value) {
    if constexpr (Layout<T, L>::genes > 1)
        return each4(value);
    else
        return broadcast<Vec<T>>(value[0]);
}

// Where the sums of a product start: at 0, at a number for each output, or at a tile's values, to go on from there.
template <class T>
struct Start {
    const T* numbers = nullptr;
    const T* tile = nullptr;
};

// One number per sample, spread over the vectors of a gene.
template <class T, int L>
struct PerSample {
    static constexpr int parts = Layout<T, L>::parts;
    Vec<T> v[parts];

    PerSample() = default;
    template <class S>
    explicit PerSample(const S* sample) {
        for (int p = 0; p < parts; ++p)
            for (int w = 0; w < kWidth<T>; ++w) v[p][w] = static_cast<T>(sample[(p * kWidth<T> + w) % L]);
    }
    PerSample operator*(T factor) const {
        PerSample out;
        for (int p = 0; p < parts; ++p) out.v[p] = v[p] * factor;
        return out;
    }
};

// out = base + sum_j coefficient[j] * k[j]; base null counts as 0.
template <class T, int L, int N, bool kBase>
inline void combine_n(const T* base, const PerSample<T, L>* coefficient, const T* const* k, T* out, int64_t rows) {
    constexpr int parts = Layout<T, L>::parts;
    const int64_t n = Layout<T, L>::vectors(rows);
    for (int64_t i = 0; i < n; i += parts)
        for (int p = 0; p < parts; ++p) {
            Vec<T> sum;
            int j = 0;
            if constexpr (kBase)
                sum = at(base, i + p);
            else
                sum = coefficient[0].v[p] * at(k[0], i + p), j = 1;
            for (; j < N; ++j) sum += coefficient[j].v[p] * at(k[j], i + p);
            at(out, i + p) = sum;
        }
}

template <class T, int L>
inline void combine(const T* base, const PerSample<T, L>* coefficient, const T* const* k, int n, T* out, int64_t rows) {
    switch (n) {
#define DASH_CASE(N)                                                       \
    case N:                                                                \
        if (base)                                                          \
            combine_n<T, L, N, true>(base, coefficient, k, out, rows);     \
        else                                                               \
            combine_n<T, L, N, false>(base, coefficient, k, out, rows);    \
        break
        DASH_CASE(1);
        DASH_CASE(2);
        DASH_CASE(3);
        DASH_CASE(4);
        DASH_CASE(5);
        DASH_CASE(6);
        DASH_CASE(7);
#undef DASH_CASE
        default:
            if (base && out != base) std::memcpy(out, base, rows * L * sizeof(T));
            if (!base) std::memset(out, 0, rows * L * sizeof(T));
    }
}

// The weights of a Runge-Kutta row times the step sizes, without those that are 0.
template <class T, int L>
struct Terms {
    PerSample<T, L> coefficient[7];
    const T* k[7];
    int n = 0;

    void add(const PerSample<T, L>& h, double weight, const T* array) {
        if (weight == 0) return;
        coefficient[n] = h * static_cast<T>(weight);
        k[n++] = array;
    }
};

// Sum over genes of f(vector index) per sample: four running sums by gene modulo 4, then a tree.
template <class T, int L, class F>
inline void gene_sums(int64_t rows, double* out, F f) {
    constexpr int count = 4 * L / kWidth<T>;  // vectors of four genes
    Vec<T> sum[count] = {};
    const int64_t n = Layout<T, L>::vectors(rows);
    for (int64_t i = 0; i < n; i += count)
        for (int j = 0; j < count; ++j) sum[j] += f(i + j, j % Layout<T, L>::parts);
    T flat[4 * L];
    for (int j = 0; j < count; ++j)
        for (int w = 0; w < kWidth<T>; ++w) flat[j * kWidth<T> + w] = sum[j][w];
    for (int l = 0; l < L; ++l)
        out[l] = double(flat[l] + flat[L + l]) + double(flat[2 * L + l] + flat[3 * L + l]);
}

// Copy rows of a [*, G] array into a tile; lanes without a sample and padded genes hold the resting state 0.5.
template <class T, int L>
inline void load_tile(const T* const* row, int n, int64_t G, T* tile) {
    const int64_t rows = padded(G);
    for (int64_t i = 0; i < rows * L; ++i) tile[i] = T(0.5);
    for (int l = 0; l < n; ++l)
        for (int64_t g = 0; g < G; ++g) tile[g * L + l] = row[l][g];
}

template <class T, int L>
inline void copy_lane(const T* from, T* to, int lane, int64_t rows) {
    for (int64_t g = 0; g < rows; ++g) to[g * L + lane] = from[g * L + lane];
}

enum class Tiles { narrow, wide, either };

// Time that tiles of at most `most` samples take in units of one lane: each works until its last sample is done.
inline double lane_time(const int64_t* longest_first, int64_t B, const double* length, int64_t most) {
    double total = 0;
    for (int64_t first = 0; first < B; first += most)
        total += double(B - first > 4 ? most : 4) * length[longest_first[first]];
    return total;
}

// Call f(lanes, sample, n) for the tiles that cover the samples index[0 .. B - 1]. More than four are sorted by length
// first, so that those which finish together stand together.
template <class F>
inline void for_tiles(int64_t* index, int64_t B, const double* length, Tiles tiles, F f) {
    constexpr double narrow_costs = 1.3;  // per lane, of that of a wide tile, with compressed weights
    if (B > 4) longest_first(length, index, B);
    const bool narrow = tiles == Tiles::narrow || (tiles == Tiles::either && narrow_costs * lane_time(index, B, length, 4) <
                                                                                 lane_time(index, B, length, 16));
    for (int64_t first = 0; first < B;) {
        const int64_t left = B - first, most = narrow ? 4 : 16;
        const int n = static_cast<int>(left < most ? left : most);
        if (n <= 4)
            f(Number<4>{}, index + first, n);
        else
            f(Number<16>{}, index + first, n);
        first += n;
    }
}

}  // namespace DASH_ISA
}  // namespace dash
