// What the host hands to the kernels: pointers into device memory, the same for CUDA and for the emulation.
#pragma once
#include "../core/tableau.hpp"
#include "../core/types.hpp"
#include "block.hpp"

namespace dash {
namespace gpu {

// Statuses beyond those of core/types.hpp; the host answers them and the caller never sees them.
enum : int { kTapeFull = 100 };

// The form in which the device has a matrix A[hidden][gene] of a model. Dense: values and what belongs to them in the
// caller's order, entry (h, g) at h * hidden_step + g * gene_step. Compressed: active entries only, by hidden unit.
struct MatrixForm {
    int compressed;
    int nnz;
    int64_t hidden_step, gene_step;
    const int32_t* ptr;           // compressed: [padded m + 1]
    const uint16_t *row, *index;  // [nnz] hidden unit and gene
    const int32_t* gene_ptr;      // [padded G + 1]: the same entries by gene
    const uint16_t* gene_index;   // [nnz] hidden unit
    const int32_t* gene_from;     // [nnz] place among the values
};

// Of a model, whose values are in Params; [0] is the branch of sums, [1] that of products.
struct ModelForm {
    MatrixForm W[2], U[2];
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

// How a run's part of a launch went.
struct Outcome {
    int64_t next_batch, step, evaluations, status;
};

// An epoch, or one batch of which the gradients are asked for. Pointers of the arguments are the device's; what changes
// but the weights, moments and losses is in the outcome.
template <class T>
struct TrainView {
    TrainArgs<T> args;
    ModelForm form;
    Method<T> method;
    const int64_t* observed;  // [n_batches] end values that are observed, 1 or more
    T* grad[N_TENSORS];       // null, or of the only batch; then there are no moments and no step is made
    double* prior;            // of that batch
    Outcome* outcome;
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
