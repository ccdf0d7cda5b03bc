// The prior's part of the DASH scores: least-squares solutions of S' X = C and Y S = P through the normal equations
// (Hossain et al. 2024, Algorithm 1), float64. Sums over genes and hidden units run in ascending order, blocks or not.
#include <vector>

#include "../cholesky.hpp"
#include "../operators.hpp"

namespace dash {
namespace DASH_ISA {

// M[i][j] += sum over g of St[g][i] St[g][j] for R rows and C vectors of columns, in the order of g.
template <int R, int C>
inline void gram_block(const double* St, int64_t stride, int64_t genes, int64_t i, int64_t j, double* M, int64_t width) {
    typedef Vec<double> V;
    V sum[R][C];
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) sum[r][c] = at(M + (i + r) * width + j, c);
    for (int64_t g = 0; g < genes; ++g) {
        const double* s = St + g * stride;
        V columns[C];
        for (int c = 0; c < C; ++c) columns[c] = at(s + j, c);
        for (int r = 0; r < R; ++r)
            for (int c = 0; c < C; ++c) sum[r][c] += s[i + r] * columns[c];
    }
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) at(M + (i + r) * width + j, c) = sum[r][c];
}

// S S' [width][width] from the transposed S, whose rows are padded with 0 up to a width that is a multiple of
// kGramColumns, and lie an odd number of cache lines apart: many of them share the cache's sets evenly.
constexpr int kGramRows = 4, kGramVectors = DASH_VECTOR_BYTES == 64 ? 4 : 2;
constexpr int64_t kGramColumns = kGramVectors * kWidth<double>;
constexpr int64_t kGramGenes = 64;  // so many rows stay in cache

static int64_t gram_width(int64_t m) { return (m + kGramColumns - 1) / kGramColumns * kGramColumns; }
static int64_t gram_stride(int64_t width) { return ((width + 7) / 8 | 1) * 8; }

// Columns g[0..n-1] of S [m][G] as rows of `to` [n][stride]; what pads a row is left as it is.
template <class Gene>
static void take_columns(const double* S, int64_t m, int64_t G, Gene g, int64_t n, int64_t stride, double* to) {
    constexpr int64_t block = 16;  // whole cache lines on both sides
    for (int64_t first = 0; first < n; first += block) {
        const int64_t end = first + block < n ? first + block : n;
        for (int64_t h = 0; h < m; ++h)
            for (int64_t i = first; i < end; ++i) to[i * stride + h] = S[h * G + g(i)];
    }
}

static void gram(const double* S, int64_t m, int64_t G, double* M, int64_t width, Watch* watch) {
    const int64_t stride = gram_stride(width);
    Buffer<double> memory;
    double* St = memory.zeros(kGramGenes * stride);
    for (int64_t g = 0; g < G; g += kGramGenes) {
        const int64_t genes = G - g < kGramGenes ? G - g : kGramGenes;
        take_columns(S, m, G, [&](int64_t i) { return g + i; }, genes, stride, St);
        watch->spend(genes * width * width / 2);
        for (int64_t j = 0; j < width; j += kGramColumns)
            for (int64_t i = 0; i < j + kGramColumns; i += kGramRows)  // the rest is symmetric
                gram_block<kGramRows, kGramVectors>(St, stride, genes, i, j, M, width);
    }
    for (int64_t i = 0; i < width; ++i)
        for (int64_t j = 0; j < i; ++j) M[i * width + j] = M[j * width + i];
}

static double column_norm(const double* M, int64_t m) {
    double largest = 0;
    for (int64_t j = 0; j < m; ++j) {
        double sum = 0;
        for (int64_t i = 0; i < m; ++i) sum += std::fabs(M[j * m + i]);
        largest = sum > largest ? sum : largest;
    }
    return largest;
}

// Solve for the rows of X [n][stride] in place, kTogether at a time.
static void solve_rows(const Cholesky& cholesky, double* X, int64_t n, int64_t m, int64_t stride) {
    Buffer<double> memory;
    double* block = memory.zeros(m * kTogether);
    for (int64_t first = 0; first < n; first += kTogether) {
        const int64_t count = n - first < kTogether ? n - first : kTogether;
        for (int64_t w = 0; w < count; ++w)
            for (int64_t h = 0; h < m; ++h) block[h * kTogether + w] = X[(first + w) * stride + h];
        cholesky.solve(block);
        for (int64_t w = 0; w < count; ++w)
            for (int64_t h = 0; h < m; ++h) X[(first + w) * stride + h] = block[h * kTogether + w];
    }
}

// A sparse matrix as a map from inputs (rows of S transposed) to outputs (rows of a term).
struct SparseMap {
    const int64_t *ptr, *index;
    const double* value;
    int64_t rows;
    bool to_columns;  // outputs are its columns, inputs its rows; else the other way round

    template <class F>
    void each(F f) const {
        for (int64_t row = 0; row < rows; ++row)
            for (int64_t e = ptr[row]; e < ptr[row + 1]; ++e)
                to_columns ? f(index[e], row, value[e]) : f(row, index[e], value[e]);
    }
};

// Numbers from 0 on for those of n that are used, -1 for the others.
struct Used {
    explicit Used(int64_t n) : place(n, -1) {}
    void number() {
        for (size_t i = 0; i < place.size(); ++i)
            if (place[i] == 0) place[i] = static_cast<int64_t>(all.size()), all.push_back(static_cast<int64_t>(i));
    }
    std::vector<int64_t> place, all;
};

// Outputs that are not 0: output[t] = M^-1 sum over genes g of map(t, g) S[:, g]. Priors name few regulators, so it is
// cheaper to solve for these genes and add up solutions where there are fewer of them than of outputs.
// put(output, row of the result [m])
template <class Put>
static void map_and_solve(const Cholesky& cholesky, const SparseMap& map, int64_t outputs, const double* S, int64_t m,
                          int64_t G, Put put) {
    const int64_t stride = gram_stride(m);
    Used out(outputs), in(G);
    map.each([&](int64_t t, int64_t g, double) { out.place[t] = in.place[g] = 0; });
    out.number(), in.number();
    const int64_t n_out = static_cast<int64_t>(out.all.size()), n_in = static_cast<int64_t>(in.all.size());
    Buffer<double> columns, sums;
    double *Z = columns.reserve(n_in * stride), *X = sums.zeros(n_out * stride);
    take_columns(S, m, G, [&](int64_t i) { return in.all[i]; }, n_in, stride, Z);
    const bool genes_first = n_in < n_out;
    if (genes_first) solve_rows(cholesky, Z, n_in, m, stride);
    map.each([&](int64_t t, int64_t g, double value) {
        const double* from = Z + in.place[g] * stride;
        double* to = X + out.place[t] * stride;
        for (int64_t h = 0; h < m; ++h) to[h] += value * from[h];
    });
    if (!genes_first) solve_rows(cholesky, X, n_out, m, stride);
    for (int64_t i = 0; i < n_out; ++i) put(out.all[i], X + i * stride);
}

static void prior_terms(PriorTermsArgs& args) {
    const int64_t m = args.m, G = args.G;
    const int64_t width = gram_width(m);
    Buffer<double> wide, square;
    double *whole = wide.zeros(width * width), *M = square.reserve(m * m);
    gram(args.S, m, G, whole, width, args.watch);
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < m; ++j) M[i * m + j] = whole[i * width + j];
    Cholesky cholesky(args.watch);
    args.ok = false;
    args.condition = HUGE_VAL;
    args.rho = 0;
    if (!cholesky.factor(M, m, 0)) return;
    args.condition = column_norm(M, m) * cholesky.inverse_norm();
    if (!(args.condition <= 1e12)) return;
    double trace = 0;
    for (int64_t i = 0; i < m; ++i) trace += M[i * m + i];
    args.rho = args.ridge * trace / m;
    if (args.rho > 0 && !cholesky.factor(M, m, args.rho)) return;
    if (args.c_ptr) {
        std::memset(args.first, 0, m * G * sizeof(double));
        const SparseMap columns{args.c_ptr, args.c_index, args.c_value, G, true};
        map_and_solve(cholesky, columns, G, args.S, m, G, [&](int64_t g, const double* found) {
            for (int64_t h = 0; h < m; ++h) args.first[h * G + g] = found[h];
        });
    }
    if (args.p_ptr) {
        std::memset(args.second, 0, args.targets * m * sizeof(double));
        const SparseMap targets{args.p_ptr, args.p_index, args.p_value, args.targets, false};
        map_and_solve(cholesky, targets, args.targets, args.S, m, G, [&](int64_t t, const double* found) {
            std::memcpy(args.second + t * m, found, m * sizeof(double));
        });
    }
    args.ok = true;
}

DASH_OPERATOR_OF(PriorTermsArgs, prior_terms)

}  // namespace DASH_ISA
}  // namespace dash
