// Cholesky factorisation of a symmetric positive definite matrix, and solves for many right-hand sides side by side.
// Sums run in ascending order, blocks or not.
#pragma once
#include "simd.hpp"

namespace dash {
namespace DASH_ISA {

// Right-hand sides that are solved together: two vectors.
constexpr int kTogether = 2 * kWidth<double>;

// Cholesky factor L of a symmetric positive definite matrix, by rows and by columns.
class Cholesky {
  public:
    explicit Cholesky(Watch* watch) : watch_(watch) {}

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
            watch_->spend((m - j) * (m - j) / 2);
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
        watch_->spend(m * m * kTogether);
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

    Watch* watch_;
    int64_t m_ = 0;
    Buffer<double> L_, LT_;
};

}  // namespace DASH_ISA
}  // namespace dash
