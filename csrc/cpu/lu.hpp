// LU factorisation of a small square matrix with row pivoting.
#pragma once
#include "simd.hpp"

namespace dash {
namespace DASH_ISA {

// Of n rows, n columns and leading dimension n.
class Lu {
  public:
    void factor(const double* M, int64_t n) {
        n_ = n;
        double* A = factors_.reserve(n * n);
        int64_t* order = order_.reserve(n);
        std::memcpy(A, M, n * n * sizeof(double));
        log_ = 0;
        for (int64_t j = 0; j < n; ++j) {
            int64_t best = j;
            for (int64_t i = j + 1; i < n; ++i)
                if (std::fabs(A[i * n + j]) > std::fabs(A[best * n + j])) best = i;
            order[j] = best;
            if (best != j)
                for (int64_t c = 0; c < n; ++c) {
                    const double kept = A[j * n + c];
                    A[j * n + c] = A[best * n + c], A[best * n + c] = kept;
                }
            log_ += std::log(std::fabs(A[j * n + j]));
            const double by = 1 / A[j * n + j];
            for (int64_t i = j + 1; i < n; ++i) {
                const double factor = A[i * n + j] *= by;
                for (int64_t c = j + 1; c < n; ++c) A[i * n + c] -= factor * A[j * n + c];
            }
        }
    }
    // ln of the determinant's absolute value
    double log_determinant() const { return log_; }

    // x <- M^-1 x
    void solve(double* x) const {
        const double* A = factors_.data();
        for (int64_t i = 0; i < n_; ++i) {
            const int64_t from = order_[i];
            const double kept = x[i];
            x[i] = x[from], x[from] = kept;
        }
        for (int64_t i = 0; i < n_; ++i)
            for (int64_t c = 0; c < i; ++c) x[i] -= A[i * n_ + c] * x[c];
        for (int64_t i = n_ - 1; i >= 0; --i) {
            for (int64_t c = i + 1; c < n_; ++c) x[i] -= A[i * n_ + c] * x[c];
            x[i] /= A[i * n_ + i];
        }
    }

  private:
    int64_t n_ = 0;
    double log_ = 0;
    Buffer<double> factors_;
    Buffer<int64_t> order_;
};

}  // namespace DASH_ISA
}  // namespace dash
