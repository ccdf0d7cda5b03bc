// prior_terms of a block: one score matrix (mirrors csrc/cpu/ops/prior_terms.cpp). No step depends on the values: where
// the normal equations do not serve, the task is marked at its end and the host does it on the CPU.
#pragma once
#include "../context.hpp"
#include "../operator.hpp"

namespace dash {
namespace gpu {

constexpr int kSquareRows = 8;  // rows of a square matrix that a thread or a warp takes at once
constexpr double kLargestCondition = 1e12;

struct PriorTermsOutcome {
    double condition, rho;
    int ok;
};

// The pointers of the arguments are the device's, and C is by columns.
struct PriorTermsView {
    PriorTermsArgs args;
    PriorTermsOutcome* outcome;
};

struct PriorTermsContext {
    int G, m, stride;             // stride: m padded
    int bad;
    double *gram, *work, *factor;  // [stride, stride]
    double* columns;               // [stride]
    double* right;                 // [m, targets] right-hand sides with P
    double norm, condition, rho;
};

DASH_HD inline Needs place_prior_terms(PriorTermsContext& c, const PriorTermsArgs& args, char* shared,
                                       int64_t shared_bytes, char* global) {
    Bump bump{shared, global, shared_bytes, 0, 0};
    c.G = static_cast<int>(args.G), c.m = static_cast<int>(args.m);
    c.stride = (c.m + kSquareRows - 1) / kSquareRows * kSquareRows;
    const int64_t square = int64_t(c.stride) * c.stride;
    c.columns = bump.take<double>(c.stride);
    c.factor = bump.take<double>(square);
    c.work = bump.take<double>(square);
    c.gram = bump.take<double>(square);
    c.right = bump.take<double>(args.p_ptr ? args.m * args.targets : 0);
    return {bump.shared_used, bump.global_used, 0};
}

// gram = S S', a warp to 8 x 4 entries, its lanes to the genes.
template <class B>
DASH_PHASE void gram(B block, PriorTermsContext* c, const double* S) {
    constexpr int kColumns = kLanes / kSquareRows;
    const int across = c->stride / kColumns;
    block.template warp_sums<kLanes, double>(
        0, c->stride / kSquareRows * across,
        [=](int item, int lane, double* acc) {
            const int row = item / across * kSquareRows, column = item % across * kColumns;
            const int G = c->G, m = c->m;
            if (column >= row + kSquareRows) return;  // the rest is symmetric
            for (int g = lane; g < G; g += kLanes) {
                double b[kColumns];
                DASH_UNROLL for (int q = 0; q < kColumns; ++q)
                    b[q] = column + q < m ? S[int64_t(column + q) * G + g] : 0.0;
                DASH_UNROLL for (int r = 0; r < kSquareRows; ++r) {
                    const double a = row + r < m ? S[int64_t(row + r) * G + g] : 0.0;
                    DASH_UNROLL for (int q = 0; q < kColumns; ++q) acc[r * kColumns + q] += a * b[q];
                }
            }
        },
        [=](int item, int k, double sum) {
            const int i = item / across * kSquareRows + k / kColumns, j = item % across * kColumns + k % kColumns;
            if (j > i || i >= c->m) return;
            c->gram[i * c->stride + j] = c->gram[j * c->stride + i] = sum;
        });
    block.barrier();
}

// factor = L of gram + shift I = L L', column by column; marks the task when a pivot is not positive.
template <class B>
DASH_PHASE void cholesky(B block, PriorTermsContext* c, double shift) {
    const int m = c->m, stride = c->stride;
    block.for_all_sync(stride * stride, [=](int k) {
        const int i = k / stride, j = k % stride;
        c->work[k] = i < m && j < m ? c->gram[k] + (i == j ? shift : 0.0) : 0.0;
        c->factor[k] = i == j ? 1.0 : 0.0;  // of the rows that pad it
    });
    for (int j = 0; j < m; ++j) {
        block.for_all_sync(m - j, [=](int t) {
            const double pivot = c->work[j * stride + j], root = std::sqrt(pivot);
            if (t == 0 && !(pivot > 0 && std::isfinite(pivot))) c->bad = 1;
            c->factor[(j + t) * stride + j] = t == 0 ? root : c->work[(j + t) * stride + j] / root;
        });
        const int left = m - j - 1;
        block.for_all_sync(left * left, [=](int t) {
            const int i = j + 1 + t / left, k = j + 1 + t % left;
            if (k <= i) c->work[i * stride + k] -= c->factor[i * stride + j] * c->factor[k * stride + j];
        });
    }
}

// X <- (L L')^-1 X for X [m, n], a thread to a column, eight rows at a time.
template <class B>
DASH_PHASE void solve_columns(B block, PriorTermsContext* c, double* X, int n) {
    constexpr int R = kSquareRows;
    block.for_all_sync(n, [=](int w) {
        const int m = c->m, stride = c->stride;
        const double* L = c->factor;
        for (int first = 0; first < stride; first += R) {
            double x[R];
            DASH_UNROLL for (int r = 0; r < R; ++r) x[r] = first + r < m ? X[int64_t(first + r) * n + w] : 0.0;
            for (int j = 0; j < first; ++j) {
                const double known = X[int64_t(j) * n + w];
                DASH_UNROLL for (int r = 0; r < R; ++r) x[r] -= L[(first + r) * stride + j] * known;
            }
            DASH_UNROLL for (int r = 0; r < R; ++r) {
                DASH_UNROLL for (int q = 0; q < r; ++q) x[r] -= L[(first + r) * stride + first + q] * x[q];
                x[r] /= L[(first + r) * stride + first + r];
                if (first + r < m) X[int64_t(first + r) * n + w] = x[r];
            }
        }
        for (int first = stride - R; first >= 0; first -= R) {
            double x[R];
            DASH_UNROLL for (int r = 0; r < R; ++r) x[r] = first + r < m ? X[int64_t(first + r) * n + w] : 0.0;
            for (int j = first + R; j < m; ++j) {
                const double known = X[int64_t(j) * n + w];
                DASH_UNROLL for (int r = 0; r < R; ++r) x[r] -= L[j * stride + first + r] * known;
            }
            DASH_UNROLL for (int r = R - 1; r >= 0; --r) {
                DASH_UNROLL for (int q = R - 1; q > r; --q) x[r] -= L[(first + q) * stride + first + r] * x[q];
                x[r] /= L[(first + r) * stride + first + r];
                if (first + r < m) X[int64_t(first + r) * n + w] = x[r];
            }
        }
    });
}

// norm = largest absolute column sum of A [m, m] with rows of `width`.
template <class B>
DASH_PHASE void column_norm(B block, PriorTermsContext* c, const double* A, int width) {
    block.for_all_sync(c->m, [=](int j) {
        double sum = 0;
        for (int i = 0; i < c->m; ++i) sum += std::fabs(A[i * width + j]);
        c->columns[j] = sum;
    });
    block.for_all_sync(1, [=](int) {
        double largest = 0;
        for (int j = 0; j < c->m; ++j) largest = c->columns[j] > largest ? c->columns[j] : largest;
        c->norm = largest;
    });
}

// out[k] = row k % rows of A [rows, G] times row k / rows of S [m, G].
template <class B>
DASH_PHASE void times_sparse(B block, PriorTermsContext* c, const double* S, int rows, const int64_t* ptr,
                             const int64_t* index, const double* value, double* out) {
    block.for_all_sync(c->m * rows, [=](int k) {
        const int row = k % rows;
        const double* s = S + int64_t(k / rows) * c->G;
        double sum = 0;
        for (int64_t e = ptr[row]; e < ptr[row + 1]; ++e) sum += value[e] * s[index[e]];
        out[k] = sum;
    });
}

// L of S S' + rho I, its condition number and rho.
template <class B>
DASH_PHASE void normal_equations(B block, PriorTermsContext* c, const double* S, double ridge) {
    gram(block, c, S);
    cholesky(block, c, 0.0);
    column_norm(block, c, c->gram, c->stride);
    block.for_all(c->m * c->m, [=](int k) { c->work[k] = k / c->m == k % c->m ? 1.0 : 0.0; });
    block.for_all_sync(1, [=](int) {
        c->condition = c->norm;
        double trace = 0;
        for (int i = 0; i < c->m; ++i) trace += c->gram[i * c->stride + i];
        c->rho = ridge * trace / c->m;
    });
    solve_columns(block, c, c->work, c->m);
    column_norm(block, c, c->work, c->m);
    block.for_all_sync(1, [=](int) {
        c->condition *= c->norm;
        if (!(c->condition <= kLargestCondition)) c->bad = 1;
    });
    if (ridge > 0) cholesky(block, c, c->rho);
}

template <class B>
DASH_BLOCK void prior_terms(B block, PriorTermsContext* c, const PriorTermsView* task, const Memory& memory, char* shared,
                            char* global) {
    block.for_all_sync(1, [=, &memory](int) {
        place_prior_terms(*c, task->args, shared, memory.shared_bytes, global);
        c->bad = 0;
    });
    const PriorTermsArgs& args = task->args;
    normal_equations(block, c, args.S, args.ridge);
    if (args.c_ptr != nullptr) {
        times_sparse(block, c, args.S, c->G, args.c_ptr, args.c_index, args.c_value, args.first);
        solve_columns(block, c, args.first, c->G);
    }
    if (args.p_ptr != nullptr) {
        const int targets = static_cast<int>(args.targets);
        times_sparse(block, c, args.S, targets, args.p_ptr, args.p_index, args.p_value, c->right);
        solve_columns(block, c, c->right, targets);
        block.for_all_sync(c->m * targets, [=](int k) {
            task->args.second[int64_t(k % targets) * c->m + k / targets] = c->right[k];
        });
    }
    block.for_all_sync(1, [=](int) { *task->outcome = {c->condition, c->rho, !c->bad}; });
}

struct PriorTerms : OperatorOf<double> {
    typedef PriorTermsView Task;
    template <int>
    using Kept = PriorTermsContext;
    template <class B>
    DASH_BLOCK static void run(B block, PriorTermsContext* c, const PriorTermsView* task, const Memory& memory,
                               char* shared, char* global) {
        prior_terms(block, c, task, memory, shared, global);
    }
};

}  // namespace gpu
}  // namespace dash
