// The prior's part of the DASH scores: least-squares solutions of S' X = C and Y S = P through the normal equations
// (Hossain et al. 2024, Algorithm 1), float64. All inner loops run over contiguous hidden units.
#include "operators.hpp"
#include "simd.hpp"

namespace dash {
namespace DASH_ISA {

// Cholesky factor of a symmetric positive definite matrix, by rows (L) and by columns (LT).
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

    // x <- M^-1 x
    void solve(double* x) const {
        const int64_t m = m_;
        for (int64_t j = 0; j < m; ++j) {
            const double* column = LT_.data() + j * m;
            const double known = x[j] /= column[j];
            for (int64_t i = j + 1; i < m; ++i) x[i] -= column[i] * known;
        }
        for (int64_t j = m - 1; j >= 0; --j) {
            const double* row = L_.data() + j * m;
            const double known = x[j] /= row[j];
            for (int64_t i = 0; i < j; ++i) x[i] -= row[i] * known;
        }
    }

    // Largest absolute column sum of the inverse.
    double inverse_norm() const {
        Buffer<double> unit;
        double* x = unit.reserve(m_);
        double largest = 0;
        for (int64_t j = 0; j < m_; ++j) {
            for (int64_t i = 0; i < m_; ++i) x[i] = i == j;
            solve(x);
            double sum = 0;
            for (int64_t i = 0; i < m_; ++i) sum += std::fabs(x[i]);
            largest = sum > largest ? sum : largest;
        }
        return largest;
    }

  private:
    int64_t m_ = 0;
    Buffer<double> L_, LT_;
};

static double column_norm(const double* M, int64_t m) {
    double largest = 0;
    for (int64_t j = 0; j < m; ++j) {
        double sum = 0;
        for (int64_t i = 0; i < m; ++i) sum += std::fabs(M[j * m + i]);
        largest = sum > largest ? sum : largest;
    }
    return largest;
}

void prior_terms(PriorTermsArgs& args) {
    const int64_t m = args.m, G = args.G;
    Buffer<double> transposed, gram, rows;
    double *St = transposed.reserve(G * m), *M = gram.zeros(m * m);
    for (int64_t h = 0; h < m; ++h)
        for (int64_t g = 0; g < G; ++g) St[g * m + h] = args.S[h * G + g];
    for (int64_t g = 0; g < G; ++g) {
        const double* s = St + g * m;
        for (int64_t i = 0; i < m; ++i) {
            const double factor = s[i];
            if (factor == 0) continue;
            for (int64_t j = 0; j < m; ++j) M[i * m + j] += factor * s[j];
        }
    }
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
        double* X = rows.zeros(G * m);  // (S C)' [G, m]
        for (int64_t k = 0; k < G; ++k)
            for (int64_t e = args.c_ptr[k]; e < args.c_ptr[k + 1]; ++e) {
                double* x = X + args.c_index[e] * m;
                const double value = args.c_value[e];
                for (int64_t h = 0; h < m; ++h) x[h] += value * St[k * m + h];
            }
        for (int64_t g = 0; g < G; ++g) {
            cholesky.solve(X + g * m);
            for (int64_t h = 0; h < m; ++h) args.first[h * G + g] = X[g * m + h];
        }
    }
    if (args.p_ptr)
        for (int64_t t = 0; t < args.targets; ++t) {
            double* y = args.second + t * m;
            for (int64_t h = 0; h < m; ++h) y[h] = 0;
            for (int64_t e = args.p_ptr[t]; e < args.p_ptr[t + 1]; ++e) {
                const double* s = St + args.p_index[e] * m;
                const double value = args.p_value[e];
                for (int64_t h = 0; h < m; ++h) y[h] += value * s[h];
            }
            cholesky.solve(y);
        }
    args.ok = true;
}

}  // namespace DASH_ISA
}  // namespace dash
