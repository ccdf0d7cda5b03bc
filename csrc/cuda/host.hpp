// What the bindings hand to the packs: the caller's arrays. Plain structures, checked by the bindings.
#pragma once
#include <vector>

#include "device.hpp"

namespace dash {
namespace gpu {

// A matrix of the caller: dense [rows, columns] row by row, or compressed by rows (ptr and column given, values by
// entry). W has a row per hidden unit, U one per gene.
template <class T>
struct HostMatrix {
    bool rows_are_hidden;
    T *value, *moment1, *moment2;  // moments null for solve
    const uint8_t* mask;           // per value, 1 = active; null: values other than 0
    const int64_t* ptr;            // null: dense
    const int32_t* column;
};

template <class T>
struct HostModel {
    int64_t G, m;
    HostMatrix<T> matrix[4];  // W_sums, W_prods, U_sums, U_prods
    T *b[2], *v;
};

template <class T>
struct HostRun {
    HostModel<T> model;
    T *b_moment1[2], *b_moment2[2], *v_moment1, *v_moment2;
    int64_t step;
    Objective<T> objective;
    int64_t N;  // pairs
    int64_t n_batches;
    const int64_t *batch_ptr, *batch_index;
    double lr[N_TENSORS];
    double beta1, beta2, eps;
    double* loss;  // [n_batches]
    int64_t evaluations, status;  // out
    // Null, or where the gradients of the only batch go, in the shape of the tensors' values; then nothing above but the
    // loss is changed, and there are no moments.
    T* grad[N_TENSORS];
    double prior_loss;  // out: of that batch
};

template <class T>
struct HostSolve {
    HostModel<T> model;
    SolveOptions options;
    int64_t B;
    const T* y0;       // [B, G]
    const double* dt;  // [B]
    T* y1;             // [B, G]
    int64_t *status, *steps, *rejected, *evaluations;  // [B]
    std::vector<double> sizes;  // out: [B, width]
    int64_t width;              // out
};

template <class T>
struct HostBackward {
    HostModel<T> model;
    int method;
    int64_t B, n;
    const T* y0;
    const double* sizes;
    const T *grad_y1;
    T* grad_y0;
    double* longest;
    T* grad[N_TENSORS];
};

// Choices of a launch; 0: as the device suggests. Results do not depend on shared_bytes and state_limit (docs/gpu.md).
struct Choices {
    double compress_below;  // share of active entries below which a matrix is compressed
    int64_t shared_bytes;   // most shared memory of a block
    int64_t state_limit;    // first try: iterations beyond the tape's capacity of which states are kept
    int team;               // models that all blocks work on together: -1 large ones, 0 none, 1 all
};

// Seconds of the calls since the last one of take_timings: work on the host, transfers, kernels.
struct Timings {
    double host, transfer, kernel;
};
Timings take_timings();

template <class T>
void train_pack(std::vector<HostRun<T>>& runs, const Choices& choices);  // ops/train_epoch.cpp
void release_memory();  // that is kept from call to call

}  // namespace gpu
}  // namespace dash
