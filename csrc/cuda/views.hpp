// What the host hands to the kernels: pointers into device memory, the same for CUDA and for the emulation.
#pragma once
#include "../core/tableau.hpp"
#include "../core/types.hpp"
#include "block.hpp"

namespace dash {
namespace gpu {

// Statuses beyond those of core/types.hpp; the host answers them and the caller never sees them.
enum : int { kTapeFull = 100 };

// One matrix A[hidden][gene] of one run. Dense: `value` and what belongs to it in the caller's order, entry (h, g) at
// h * hidden_step + g * gene_step. Compressed: active entries only, by hidden unit.
template <class T>
struct MatrixView {
    int compressed;
    int nnz;
    int64_t hidden_step, gene_step;
    T *value, *moment1, *moment2;  // moments null when nothing is trained
    const uint8_t* active;         // dense: 1 = active, null: all
    const int32_t* ptr;            // compressed: [padded m + 1]
    const uint16_t *row, *index;   // [nnz] hidden unit and gene
    const int32_t* gene_ptr;       // [padded G + 1]: the same entries by gene
    const uint16_t* gene_index;    // [nnz] hidden unit
    const int32_t* gene_from;      // [nnz] place in `value`
};

// Runge–Kutta coefficients in the precision of the run.
template <class T>
struct Method {
    int stages, adaptive;
    T a[7][7], b[7], e[7], d[6], c[6];  // d: of the adjoint's error; c: the sums of a's rows
    AdjointError adjoint;

    static Method of(int number) {
        const Tableau& t = tableau(number);
        Method out{};
        out.stages = t.stages, out.adaptive = t.adaptive;
        for (int i = 0; i < 7; ++i) {
            out.b[i] = static_cast<T>(t.b[i]), out.e[i] = static_cast<T>(t.e[i]);
            for (int j = 0; j < 7; ++j) out.a[i][j] = static_cast<T>(t.a[i][j]);
        }
        out.adjoint = t.adjoint;
        for (int i = 0; i < t.stages; ++i) {
            out.d[i] = static_cast<T>(t.adjoint.d[i]);
            for (int j = 0; j < i; ++j) out.c[i] += out.a[i][j];
        }
        return out;
    }
};

// A model; W[0], U[0] are the branch of sums, W[1], U[1] that of products.
template <class T>
struct ModelView {
    int G, m;
    MatrixView<T> W[2], U[2];
    T *b[2], *v;
};

// Where the gradients of a model go, null when nobody asks: those of matrices in MatrixView's order.
template <class T>
struct GradientView {
    T *W[2], *U[2], *b[2], *v;
};

// How a run's part of a launch went.
struct Outcome {
    int64_t next_batch, step, evaluations, status;
};

template <class T>
struct TrainView {
    ModelView<T> model;
    T *b_moment1[2], *b_moment2[2], *v_moment1, *v_moment2;
    Method<T> method;
    Objective<T> objective;   // device memory
    const int64_t *batch_ptr, *batch_index;
    int64_t n_batches;
    const int64_t* observed;  // [n_batches] end values that are observed, 1 or more
    double lr[N_TENSORS];
    double beta1, beta2, eps;
    double* loss;             // [n_batches]: of the data
    GradientView<T> grad;     // of the only batch; then there are no moments and no step is made
    double* prior_loss;       // of that batch
    Outcome* outcome;
};

// A tile of up to four samples of one model.
template <class T>
struct SolveView {
    const ModelView<T>* model;
    const Method<T>* method;
    SolveOptions options;
    int n;
    const T* y0;       // [n, G]
    const double* dt;  // [n]
    T* y1;             // [n, G]
    int64_t *status, *steps, *rejected, *evaluations;  // [n]
    double* sizes;       // [n, size_limit], accepted step sizes
    int64_t size_limit;
};

// The gradient of one model's end states.
template <class T>
struct AdjointView {
    ModelView<T> model;
    Method<T> method;
    int64_t B, n;
    const T* y0;          // [B, G]
    const double* sizes;  // [B, n]
    const T* grad_y1;     // [B, G]
    T* grad_y0;           // [B, G]
    double* longest;      // [B]
    GradientView<T> grad;
};

// Memory of the blocks of a launch: block k has shared memory of shared_bytes and scratch + k * scratch_bytes.
struct Memory {
    int64_t shared_bytes;
    char* scratch;
    int64_t scratch_bytes;
    int64_t state_limit;  // iterations beyond the tape's capacity of which the states are kept
};

}  // namespace gpu
}  // namespace dash
