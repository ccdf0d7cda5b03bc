// The prior's part of the DASH scores: least-squares solutions of S' X = C and Y S = P through the normal equations
// (Hossain et al. 2024, Algorithm 1), float64. Sums over genes and hidden units run in ascending order, blocks or not.
#include "operators.hpp"
#include "simd.hpp"

namespace dash {
namespace DASH_ISA {

// Right-hand sides that are solved together: two vectors.
constexpr int kTogether = 2 * kWidth<double>;

// Cholesky factor L of a symmetric positive definite matrix, by rows and by columns.
class Cholesky {
  public:
    bool factor(const double* M, int64_t m, double shift) {
        m_ = m;
        double *L = L_.zeros(m * m), *LT = LT_.zeros(m * m);
        Buffer<double> work;
        double* A = work.reserve(m * m);
        for (int64_t i = 0; i < m * m; ++i) A[i] = M[i];
        for (int64_t i = 0; i < m; ++i) A[i * m + i] += shift;
        for (int64_t j = 0; j < m; ++j) {
            const double pivot = A[j * m + j];
            if (!(pivot > 0) || !std::isfinite(pivot)) return false;
            const double root = std::sqrt(pivot);
            double* column = LT + j * m;
            column[j] = root;
            for (int64_t i = j + 1; i < m; ++i) column[i] = A[j * m + i] / root;
            for (int64_t k = j + 1; k < m; ++k) {
                const double factor = column[k];
                for (int64_t i = k; i < m; ++i) A[k * m + i] -= factor * column[i];
            }
        }
        for (int64_t i = 0; i < m; ++i)
            for (int64_t j = 0; j <= i; ++j) L[i * m + j] = LT[j * m + i];
        return true;
    }

    // X <- M^-1 X for kTogether right-hand sides side by side: X [m][kTogether], aligned.
    void solve(double* X) const {
        const int64_t m = m_;
        const double *L = L_.data(), *LT = LT_.data();
        int64_t i = 0;
        for (; i + kRows <= m; i += kRows) rows<kRows, 1>(L, i, X);
        for (; i < m; ++i) rows<1, 1>(L, i, X);
        i = m - 1;
        for (; i - kRows + 1 >= 0; i -= kRows) rows<kRows, -1>(LT, i, X);
        for (; i >= 0; --i) rows<1, -1>(LT, i, X);
    }

    // Largest absolute column sum of the inverse.
    double inverse_norm() const {
        Buffer<double> unit;
        double* X = unit.reserve(m_ * kTogether);
        double largest = 0;
        for (int64_t first = 0; first < m_; first += kTogether) {
            for (int64_t i = 0; i < m_; ++i)
                for (int w = 0; w < kTogether; ++w) X[i * kTogether + w] = i == first + w;
            solve(X);
            for (int w = 0; w < kTogether && first + w < m_; ++w) {
                double sum = 0;
                for (int64_t i = 0; i < m_; ++i) sum += std::fabs(X[i * kTogether + w]);
                largest = sum > largest ? sum : largest;
            }
        }
        return largest;
    }

  private:
    typedef Vec<double> V;
    static constexpr int kRows = DASH_VECTOR_BYTES == 64 ? 8 : 4;

    // Rows first, first + step, ... (R of them) of a triangular solve; those before them are known.
    template <int R, int step>
    void rows(const double* factor, int64_t first, double* X) const {
        const int64_t m = m_;
        V x[R][2];
        for (int r = 0; r < R; ++r)
            for (int p = 0; p < 2; ++p) x[r][p] = at(X + (first + r * step) * kTogether, p);
        for (int64_t j = step > 0 ? 0 : m - 1; j != first; j += step) {
            const V known[2] = {at(X + j * kTogether, 0), at(X + j * kTogether, 1)};
            for (int r = 0; r < R; ++r) {
                const double entry = factor[(first + r * step) * m + j];
                for (int p = 0; p < 2; ++p) x[r][p] -= entry * known[p];
            }
        }
        for (int r = 0; r < R; ++r) {
            const double* row = factor + (first + r * step) * m;
            for (int q = 0; q < r; ++q)
                for (int p = 0; p < 2; ++p) x[r][p] -= row[first + q * step] * x[q][p];
            for (int p = 0; p < 2; ++p) {
                x[r][p] /= broadcast<V>(row[first + r * step]);
                at(X + (first + r * step) * kTogether, p) = x[r][p];
            }
        }
    }

    int64_t m_ = 0;
    Buffer<double> L_, LT_;
};

// M[i][j] += sum over g of St[g][i] St[g][j] for R rows and C vectors of columns, in the order of g.
template <int R, int C>
inline void gram_block(const double* St, int64_t stride, int64_t genes, int64_t i, int64_t j, double* M) {
    typedef Vec<double> V;
    V sum[R][C];
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) sum[r][c] = at(M + (i + r) * stride + j, c);
    for (int64_t g = 0; g < genes; ++g) {
        const double* s = St + g * stride;
        V columns[C];
        for (int c = 0; c < C; ++c) columns[c] = at(s + j, c);
        for (int r = 0; r < R; ++r)
            for (int c = 0; c < C; ++c) sum[r][c] += s[i + r] * columns[c];
    }
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) at(M + (i + r) * stride + j, c) = sum[r][c];
}

// S S' from the transposed S, both with rows of `stride` (a multiple of kGramColumns, padded with 0).
constexpr int kGramRows = 4, kGramVectors = DASH_VECTOR_BYTES == 64 ? 4 : 2;
constexpr int64_t kGramColumns = kGramVectors * kWidth<double>;
constexpr int64_t kGramGenes = 128;  // so many rows of St stay in cache

static void gram(const double* St, int64_t stride, int64_t G, double* M) {
    for (int64_t g = 0; g < G; g += kGramGenes) {
        const int64_t genes = G - g < kGramGenes ? G - g : kGramGenes;
        for (int64_t j = 0; j < stride; j += kGramColumns)
            for (int64_t i = 0; i < j + kGramColumns; i += kGramRows)  // the rest is symmetric
                gram_block<kGramRows, kGramVectors>(St + g * stride, stride, genes, i, j, M);
    }
    for (int64_t i = 0; i < stride; ++i)
        for (int64_t j = 0; j < i; ++j) M[i * stride + j] = M[j * stride + i];
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

// Solve for the rows of X [n][stride], kTogether at a time; put(first row, solutions [m][kTogether], how many).
template <class Put>
static void solve_rows(const Cholesky& cholesky, const double* X, int64_t n, int64_t m, int64_t stride, Put put) {
    Buffer<double> memory;
    double* block = memory.zeros(m * kTogether);
    for (int64_t first = 0; first < n; first += kTogether) {
        const int64_t count = n - first < kTogether ? n - first : kTogether;
        for (int64_t w = 0; w < count; ++w)
            for (int64_t h = 0; h < m; ++h) block[h * kTogether + w] = X[(first + w) * stride + h];
        cholesky.solve(block);
        put(first, block, count);
    }
}

void prior_terms(PriorTermsArgs& args) {
    const int64_t m = args.m, G = args.G;
    const int64_t stride = (m + kGramColumns - 1) / kGramColumns * kGramColumns;
    Buffer<double> transposed, wide, square, rows;
    double *St = transposed.zeros(G * stride), *whole = wide.zeros(stride * stride), *M = square.reserve(m * m);
    constexpr int64_t block = 16;  // of a row: whole cache lines on both sides
    for (int64_t first = 0; first < G; first += block) {
        const int64_t end = first + block < G ? first + block : G;
        for (int64_t h = 0; h < m; ++h)
            for (int64_t g = first; g < end; ++g) St[g * stride + h] = args.S[h * G + g];
    }
    gram(St, stride, G, whole);
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < m; ++j) M[i * m + j] = whole[i * stride + j];
    Cholesky cholesky;
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
        double* X = rows.zeros(G * stride);  // (S C)' [G][stride]
        for (int64_t k = 0; k < G; ++k)
            for (int64_t e = args.c_ptr[k]; e < args.c_ptr[k + 1]; ++e) {
                double* x = X + args.c_index[e] * stride;
                const double value = args.c_value[e];
                for (int64_t h = 0; h < m; ++h) x[h] += value * St[k * stride + h];
            }
        solve_rows(cholesky, X, G, m, stride, [&](int64_t first, const double* found, int64_t count) {
            for (int64_t h = 0; h < m; ++h)
                for (int64_t w = 0; w < count; ++w) args.first[h * G + first + w] = found[h * kTogether + w];
        });
    }
    if (args.p_ptr) {
        double* Y = rows.zeros(args.targets * stride);  // P S' [targets][stride]
        for (int64_t t = 0; t < args.targets; ++t) {
            double* y = Y + t * stride;
            for (int64_t e = args.p_ptr[t]; e < args.p_ptr[t + 1]; ++e) {
                const double* s = St + args.p_index[e] * stride;
                const double value = args.p_value[e];
                for (int64_t h = 0; h < m; ++h) y[h] += value * s[h];
            }
        }
        solve_rows(cholesky, Y, args.targets, m, stride, [&](int64_t first, const double* found, int64_t count) {
            for (int64_t w = 0; w < count; ++w)
                for (int64_t h = 0; h < m; ++h) args.second[(first + w) * m + h] = found[h * kTogether + w];
        });
    }
    args.ok = true;
}

}  // namespace DASH_ISA
}  // namespace dash
