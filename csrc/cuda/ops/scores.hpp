// dash_scores of a block: one branch of one run (mirrors dash_hpc/ops/scores.py and csrc/cpu/prior_terms.cpp). float64
// throughout. No step of a block depends on the values: where the normal equations do not serve, or something is not
// finite, the job is marked at its end and the host does it on the CPU.
#pragma once
#include "../context.hpp"
#include "../operator.hpp"

namespace dash {
namespace gpu {

constexpr int kSquareRows = 8;    // rows of a square matrix that a thread or a warp takes at once
constexpr int kScoreParts = 32;   // parts into which a sum over entries is cut
constexpr int kScoreNumbers = 9;  // prior mass, data mass, condition, ridge of omega; of psi; whether the CPU is needed
constexpr double kLargestCondition = 1e12;

enum ScoreNorm : int { kPaper, kUnitSum, kRank };

// A sparse matrix by rows.
struct SparseView {
    const int64_t* ptr;
    const int32_t* index;
    const double* value;
};

struct ScoreView {
    int G, m, prods, norm;
    double lambda_ppi, lambda_motif, damping, ridge;
    const double *W, *U, *v;  // [m, G], [G, m], [G]; null where no magnitude is asked for
    const double* omega;      // [m, G] of the event before
    SparseView C, P;          // C by columns, P by targets; ptr null: not used
    double *new_omega, *psi;  // [m, G], [G, m]
    double* numbers;          // [kScoreNumbers]
};

struct ScoreContext {
    int G, m, stride, bad;             // stride: m padded
    double *gram, *work, *factor;      // [stride, stride]
    double *columns;                   // [stride]
    double *prior, *data, *sorted;     // [m, G]; sorted for ranks only
    double partial[2 * kScoreParts], total[2];
    double norm, trace, condition, rho;
};

DASH_HD inline Needs place_scores(ScoreContext& c, const ScoreView& job, char* near, int64_t near_bytes, char* far) {
    Bump bump{near, far, near_bytes, 0, 0};
    c.G = job.G, c.m = job.m;
    c.stride = (job.m + kSquareRows - 1) / kSquareRows * kSquareRows;
    const int64_t square = int64_t(c.stride) * c.stride, entries = int64_t(job.G) * job.m;
    c.columns = bump.take<double>(c.stride);
    c.factor = bump.take<double>(square);
    c.work = bump.take<double>(square);
    c.gram = bump.take<double>(square);
    c.prior = bump.take<double>(entries);
    c.data = bump.take<double>(entries);
    c.sorted = bump.take<double>(job.norm == kRank ? entries : 0);
    return {bump.near_used, bump.far_used, 0};
}

// total[k] = sum over i of what add(i, acc) adds to acc[k], in an order that depends on n alone.
template <int N, class B, class F>
DASH_BLOCK void score_sums(B block, ScoreContext* c, int n, F add) {
    block.template warp_sums<N, double>(
        0, kScoreParts,
        [=](int part, int lane, double* acc) {
            for (int i = part * kLanes + lane; i < n; i += kScoreParts * kLanes) add(i, acc);
        },
        [=](int part, int k, double sum) { c->partial[part * N + k] = sum; });
    block.barrier();
    block.each(N, [=](int k) {
        double sum = 0;
        for (int part = 0; part < kScoreParts; ++part) sum += c->partial[part * N + k];
        c->total[k] = sum;
    });
}

// gram = S S', a warp to 8 x 4 entries, its lanes to the genes.
template <class B>
DASH_PHASE void gram(B block, ScoreContext* c, const double* S) {
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

// factor = L of gram + shift I = L L', column by column; marks the job when a pivot is not positive.
template <class B>
DASH_PHASE void cholesky(B block, ScoreContext* c, double shift) {
    const int m = c->m, stride = c->stride;
    block.each(stride * stride, [=](int k) {
        const int i = k / stride, j = k % stride;
        c->work[k] = i < m && j < m ? c->gram[k] + (i == j ? shift : 0.0) : 0.0;
        c->factor[k] = i == j ? 1.0 : 0.0;  // of the rows that pad it
    });
    for (int j = 0; j < m; ++j) {
        block.each(m - j, [=](int t) {
            const double pivot = c->work[j * stride + j], root = std::sqrt(pivot);
            if (t == 0 && !(pivot > 0 && std::isfinite(pivot))) c->bad = 1;
            c->factor[(j + t) * stride + j] = t == 0 ? root : c->work[(j + t) * stride + j] / root;
        });
        const int left = m - j - 1;
        block.each(left * left, [=](int t) {
            const int i = j + 1 + t / left, k = j + 1 + t % left;
            if (k <= i) c->work[i * stride + k] -= c->factor[i * stride + j] * c->factor[k * stride + j];
        });
    }
}

// X <- (L L')^-1 X for X [m, n], a thread to a column, eight rows at a time.
template <class B>
DASH_PHASE void solve_columns(B block, ScoreContext* c, double* X, int n) {
    constexpr int R = kSquareRows;
    block.each(n, [=](int w) {
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
DASH_PHASE void column_norm(B block, ScoreContext* c, const double* A, int width) {
    block.each(c->m, [=](int j) {
        double sum = 0;
        for (int i = 0; i < c->m; ++i) sum += std::fabs(A[i * width + j]);
        c->columns[j] = sum;
    });
    block.each(1, [=](int) {
        double largest = 0;
        for (int j = 0; j < c->m; ++j) largest = c->columns[j] > largest ? c->columns[j] : largest;
        c->norm = largest;
    });
}

// prior = (S S' + rho I)^-1 S A' for A [G, G] by rows; S [m, G]. Sets condition and rho.
template <class B>
DASH_PHASE void prior_term(B block, ScoreContext* c, const double* S, const SparseView* A, double ridge) {
    gram(block, c, S);
    cholesky(block, c, 0.0);
    column_norm(block, c, c->gram, c->stride);
    block.apart(c->m * c->m, [=](int k) { c->work[k] = k / c->m == k % c->m ? 1.0 : 0.0; });
    block.each(1, [=](int) {
        c->condition = c->norm;
        double trace = 0;
        for (int i = 0; i < c->m; ++i) trace += c->gram[i * c->stride + i];
        c->rho = ridge * trace / c->m;
    });
    solve_columns(block, c, c->work, c->m);
    column_norm(block, c, c->work, c->m);
    block.each(1, [=](int) {
        c->condition *= c->norm;
        if (!(c->condition <= kLargestCondition)) c->bad = 1;
    });
    if (ridge > 0) cholesky(block, c, c->rho);
    block.each(c->m * c->G, [=](int k) {
        const int G = c->G, row = k % G;
        const double* s = S + int64_t(k / G) * G;
        double sum = 0;
        for (int64_t e = A->ptr[row]; e < A->ptr[row + 1]; ++e) sum += A->value[e] * s[A->index[e]];
        c->prior[k] = sum;
    });
    solve_columns(block, c, c->prior, c->G);
}

// Divide by the sum.
template <class B>
DASH_PHASE void unit_sum(B block, ScoreContext* c, double* x) {
    const int n = c->m * c->G;
    score_sums<1>(block, c, n, [=](int i, double* acc) { acc[0] += x[i]; });
    block.each(n, [=](int i) {
        if (c->total[0] > 0) x[i] /= c->total[0];
    });
}

// Replace each entry by the number of strictly smaller ones, divided by the sum of these numbers. Bitonic network in
// which every exchange puts the smaller first, so that any length serves.
template <class B>
DASH_PHASE void rank_share(B block, ScoreContext* c, double* x) {
    const int n = c->m * c->G;
    block.each(n, [=](int i) { c->sorted[i] = x[i]; });
    for (int width = 2; width / 2 < n; width *= 2)
        for (int bits = width - 1, next = width / 4; bits > 0; bits = next, next /= 2)
            block.each(n, [=](int i) {
                const int other = i ^ bits;
                if (other <= i || other >= n || !(c->sorted[other] < c->sorted[i])) return;
                const double larger = c->sorted[i];
                c->sorted[i] = c->sorted[other], c->sorted[other] = larger;
            });
    block.each(n, [=](int i) {
        int low = 0, high = n;  // of the first entry that is not smaller
        while (low < high) {
            const int middle = low + (high - low) / 2;
            if (c->sorted[middle] < x[i])
                low = middle + 1;
            else
                high = middle;
        }
        x[i] = low;
    });
    unit_sum(block, c, x);
}

// lambda * prior + (1 - lambda) * data into out, with the absent side left out; masses and sign of life into numbers.
// `swapped`: out is [G, m].
template <class B>
DASH_PHASE void mix(B block, ScoreContext* c, double lambda, int norm, double* out, bool swapped, double* numbers) {
    const int n = c->m * c->G;
    const bool with_prior = lambda > 0, with_data = lambda < 1;
    block.each(n, [=](int i) {
        if ((with_prior && !std::isfinite(c->prior[i])) || (with_data && !std::isfinite(c->data[i]))) c->bad = 1;
    });
    if (with_prior && norm == kUnitSum) unit_sum(block, c, c->prior);
    if (with_prior && norm == kRank) rank_share(block, c, c->prior);
    if (with_data && norm == kRank) rank_share(block, c, c->data);
    const double known = with_data ? lambda : 1.0, measured = with_prior ? 1.0 - lambda : 1.0;
    score_sums<2>(block, c, n, [=](int i, double* acc) {
        if (with_prior) acc[0] += known * c->prior[i];
        if (with_data) acc[1] += measured * c->data[i];
    });
    block.apart(n, [=](int i) {
        double score = with_prior ? known * c->prior[i] : 0.0;
        if (with_data) score += measured * c->data[i];
        if (!std::isfinite(score)) c->bad = 1;
        out[swapped ? int64_t(i % c->G) * c->m + i / c->G : i] = score;
    });
    block.each(1, [=](int) {
        numbers[0] = c->total[0], numbers[1] = c->total[1];
        numbers[2] = c->condition, numbers[3] = c->rho;
    });
}

template <class B>
DASH_BLOCK void score_branch(B block, ScoreContext* c, const ScoreView* job, const Memory& memory, char* near,
                             char* far) {
    block.each(1, [=, &memory](int) {
        place_scores(*c, *job, near, memory.shared_bytes, far);
        c->bad = 0;
        c->condition = c->rho = 0;
    });
    const int n = c->m * c->G;
    if (job->lambda_ppi > 0) {
        prior_term(block, c, job->omega, &job->C, job->ridge);
        block.each(n, [=](int i) {
            const double d = job->damping, x = std::fabs(c->prior[i]);
            c->prior[i] = d > 0 ? d * std::fabs(job->omega[i]) + (1.0 - d) * x : x;
        });
    }
    if (job->lambda_ppi < 1) {
        block.each(n, [=](int i) { c->data[i] = job->prods ? std::exp(job->W[i]) : std::fabs(job->W[i]); });
        unit_sum(block, c, c->data);
    }
    mix(block, c, job->lambda_ppi, job->norm, job->new_omega, false, job->numbers);
    if (job->lambda_motif > 0) {
        prior_term(block, c, job->new_omega, &job->P, job->ridge);
        block.each(n, [=](int i) { c->prior[i] = std::fabs(c->prior[i]); });
    }
    if (job->lambda_motif < 1) {
        block.each(n, [=](int i) {
            const int h = i / c->G, g = i % c->G;
            const double v = job->v[g];
            c->data[i] = (v > 0 ? v : v == v ? 0.0 : v) * std::fabs(job->U[int64_t(g) * c->m + h]);
        });
        unit_sum(block, c, c->data);
    }
    mix(block, c, job->lambda_motif, job->norm, job->psi, true, job->numbers + 4);
    block.each(1, [=](int) { job->numbers[8] = c->bad; });
}

struct Scores : OperatorOf<double> {
    typedef ScoreView Job;
    template <int>
    using Kept = ScoreContext;
    template <class B>
    DASH_BLOCK static void run(B block, ScoreContext* c, const ScoreView* job, const Memory& memory, char* near,
                               char* far) {
        score_branch(block, c, job, memory, near, far);
    }
};

}  // namespace gpu
}  // namespace dash
