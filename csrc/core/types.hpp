// Plain types that every operator and the bindings share. No templates from the standard library: files that
// include this are compiled once per instruction set, and a shared inline function could bring AVX-512 code to a
// processor without it.
#pragma once
#include <cstdint>

namespace dash {

struct OutOfMemory {
    int64_t bytes;  // that one piece needed
};

// A long computation was asked to end; what it has changed by then is only its own.
struct Stopped {};

// Asked from inside long computations whether to go on; implemented outside the per-instruction-set code.
class Watch {
  public:
    // Count `work` (weights times samples) and look after each portion of it, which takes about a millisecond.
    __attribute__((always_inline)) inline void spend(int64_t work) {
        left_ -= work;
        if (left_ < 0) left_ = kPortion, look();
    }

  protected:
    ~Watch() = default;
    virtual void look() = 0;  // throws what ends the computation

  private:
    static constexpr int64_t kPortion = int64_t(1) << 22;
    int64_t left_ = kPortion;
};

// Numbers of dash_hpc.ops.state.STATUS_REASONS.
enum Status : int64_t {
    kSolved = 0,
    kMaxSteps = 1,
    kStepUnderflow = 2,
    kNonFinite = 3,
    kBlowUp = 4,            // the state leaves every bound within the interval
    kDoubtfulGradient = 5,  // solved, but no step was short enough for its gradient (trust.hpp)
};

// Order of the seven tensors everywhere.
enum Tensor { W_SUMS, B_SUMS, W_PRODS, B_PRODS, U_SUMS, U_PRODS, V, N_TENSORS };

struct SolveOptions {
    int method;         // 0 = dopri5, 1 = rk4
    double rtol, atol;  // dopri5: tolerance of the local error, RMS over genes
    double step;        // rk4: largest step, units of time
    int64_t max_steps;  // accepted plus rejected, per sample; at most kMostSteps
    double longest;     // step, or 0: as long as the error allows
};

// dash_hpc.ops.solver.MOST_STEPS: a limit on the limit, so that a slip of the pen does not take days.
constexpr int64_t kMostSteps = 10000000;

// The structure of a matrix that the caller holds compressed (CSR, sorted columns); null when it is dense.
struct Structure {
    const int64_t* ptr = nullptr;
    const int32_t* index = nullptr;
};

// Parameters as the caller holds them: row-major and contiguous, or the stored entries of a compressed matrix.
template <class T>
struct Params {
    int64_t G, m;                      // genes, hidden units per branch
    const T* tensor[N_TENSORS];        // W [m, G], b [m], U [G, m], v [G]
    const uint8_t* mask[N_TENSORS];    // like tensor: 1 = active; null: entries other than 0 are active
    Structure structure[N_TENSORS];    // of W and U
};

// Where accepted step sizes go; implemented outside the per-instruction-set code.
struct StepSink {
    virtual void push(int64_t sample, double size) = 0;

protected:
    ~StepSink() = default;
};

template <class T>
struct SolveArgs {
    Params<T> params;
    SolveOptions options;
    int64_t B;
    const T* y0;       // [B, G]
    const double* dt;  // [B]
    T* y1;             // [B, G]
    int64_t *status, *steps, *rejected, *evaluations;  // [B]
    StepSink* sink;
    Watch* watch;
};

template <class T>
struct AdjointArgs {
    Params<T> params;
    int method;
    int64_t B, n;          // samples, columns of step_sizes
    const T* y0;           // [B, G]
    const double* sizes;   // [B, n], padded with 0
    const T* grad_y1;      // [B, G]
    T* grad_y0;            // [B, G]
    double* longest;       // [B] out: step that the gradient needs, infinity where it is right (trust.hpp)
    T* grad[N_TENSORS];    // same shapes as the tensors
    Watch* watch;
};

// The prior term of the loss (dash_hpc.ops.PriorLoss); without points there is none.
template <class T>
struct PriorLossArgs {
    int64_t points = 0;
    const T* states = nullptr;  // [points, G]
    const int64_t *ptr = nullptr, *index = nullptr;  // the prior network [G, G], target x regulator, as CSR
    const double* value = nullptr;
    bool multipliers = false;
};

// What a model is trained on: pairs of states, and the prior term. The loss is tau * data + (1 - tau) * prior.
template <class T>
struct Objective {
    SolveOptions options;
    int64_t N;         // pairs
    const T *y0, *y1;  // [N, G]; NaN in y1: not observed
    const double* dt;  // [N]
    double tau;
    PriorLossArgs<T> prior;
};

template <class T>
struct TrainArgs {
    Params<T> params;      // with masks of all matrices
    T* weight[N_TENSORS];  // the params' tensors, which are changed in place
    T* moment1[N_TENSORS];  // of the weights' form
    T* moment2[N_TENSORS];
    int64_t step;  // Adam steps taken; updated
    Objective<T> objective;
    int64_t n_batches;
    const int64_t *batch_ptr, *batch_index;
    double lr[N_TENSORS];
    double beta1, beta2, eps;
    double* loss;          // [n_batches]: of the data
    Watch* watch;          // a stopped epoch leaves weights and moments as they were
    int64_t evaluations;   // out
    int64_t status;        // out
};

// Loss and gradients of one batch.
template <class T>
struct GradientArgs {
    Params<T> params;
    Objective<T> objective;
    int64_t B;
    const int64_t* index;  // [B] pairs of the batch
    int64_t widest;        // pairs of the largest batch of the epoch: last bits depend on the form that it asks for
    Watch* watch;
    T* grad[N_TENSORS];    // out: shapes of the tensors; 0 outside the masks, and all 0 when the status is not 0
    double loss, prior;    // out: of the data; of the prior, 0 when there is none
    int64_t evaluations;   // out
    int64_t status;        // out
};

// One tensor of an Adam step, its values in any order.
struct AdamTensor {
    int64_t size;
    bool single;           // float32, else float64
    void *value, *moment1, *moment2;
    void* grad;            // becomes 0 outside the mask
    const uint8_t* mask;   // 1 = active, null: all
    double lr;
    int64_t step;          // number of this step, from 1
};

struct AdamArgs {
    const AdamTensor* tensors;
    int64_t count;
    double beta1, beta2, eps;
    bool finite;           // out: false when a gradient is not, and then nothing was changed
};

// (S Sᵀ + ridge)⁻¹ S C and P Sᵀ (S Sᵀ + ridge)⁻¹ by Cholesky, float64.
struct PriorTermsArgs {
    int64_t m, G, targets;
    const double* S;  // [m, G]
    double ridge;     // relative: times trace(S Sᵀ) / m
    const int64_t *c_ptr, *c_index;  // C [G, G] as CSR, null to leave out
    const double* c_value;
    const int64_t *p_ptr, *p_index;  // P [targets, G] as CSR, null to leave out
    const double* p_value;
    double* first;   // [m, G]
    double* second;  // [targets, m]
    Watch* watch;
    double condition;  // out: 1-norm condition number of S Sᵀ + ridge, an estimate from below
    double rho;        // out: the absolute ridge
    bool ok;           // out: false when Cholesky broke down
};

}  // namespace dash
