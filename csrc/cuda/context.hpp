// A block's working memory. `place` decides what is near (shared memory) and what is in the block's part of global
// memory; the host calls it with null pointers to learn how much a run needs of either.
#pragma once
#include "../core/activation.hpp"
#include "../core/control.hpp"
#include "views.hpp"

namespace dash {
namespace gpu {

constexpr int kSumItems = 16;  // parts into which a sum over genes is cut
constexpr int kMaxStages = 6;

// Matrix in the form that the products read.
template <class T>
struct Matrix {
    const MatrixView<T>* view;
    int compressed, near_panels;
    Four<T>*near_panel, *far_panel;  // dense: panel p, gene g: four hidden units
    T *by_hidden, *by_gene;          // compressed: values in either order
    const int32_t *ptr, *gene_ptr;
    const uint16_t *index, *gene_index;
    T* grad;  // in the order of view->value
};

// Step control of the four samples.
struct Control {
    double t[kSamples], h[kSamples], size[kSamples], dt[kSamples], ratio[kSamples], d1[kSamples], trial[kSamples];
    int64_t limit[kSamples], steps[kSamples], rejected[kSamples], evaluations[kSamples];
    int status[kSamples], todo[kSamples], last[kSamples];
    int keep[kSamples];   // advance: 0 = take the new state, 1 = stay, 2 = stay and forget the slots
    int bad;              // something is not finite
};

template <class T>
struct Context {
    int G, m, genes, hidden;  // genes, hidden: padded
    Method<T> method;
    SolveOptions options;
    Matrix<T> W[2], U[2];
    T *b[2], *v, *rate;              // padded; rate = relu(v)
    Four<T>*sums, *prods;            // [genes] activations, inputs of the products with W; sums also the scaled upstream
    Four<T>* z[2];                   // [hidden] inputs of the products with U, or gradients of those with W
    Four<T>*y, *stage;               // [genes]
    Four<T>* k;                      // [7][genes] derivatives of the stages, or null: those of the tape are read
    Four<T>*bar, *v_bar, *y_bar;     // [genes], [genes], [kMaxStages][genes]
    Four<T>* b_bar[2];               // [hidden]
    T *b_grad[2], *v_grad;           // [hidden], [genes]
    double* partial;                 // [kSumItems][kSamples]
    // tape: slots of `capacity` iterations and two more, then states of those that have no slots
    Four<T>*tape, *states;
    Four<T>* sizes;  // [capacity + state_limit] step sizes by iteration
    int64_t capacity, state_limit, iterations;
    int keep_tape;
    double* size_table;  // accepted sizes per sample, or null
    int64_t size_limit;
    Control control;
    Four<T> step;  // the sizes of the current iteration
    AdamConstants<T> adam;
    double correction1;
    int64_t adam_step;
    // training: what would else be held in registers across calls
    const TrainView<T>* run;
    int64_t evaluations;  // before the batch
    double loss, prior;
};

DASH_HD inline int padded_genes(int G) { return (G + kLanes - 1) / kLanes * kLanes; }
DASH_HD inline int padded_hidden(int m) { return (m + kHidden - 1) / kHidden * kHidden; }

// A slot: activations of sums and prods, derivative (after the reverse: relu(v) * upstream), [genes] each; hidden sums,
// prods, and their gradients, [hidden] each.
DASH_HD inline int64_t slot_size(int genes, int hidden) { return 3 * int64_t(genes) + 4 * int64_t(hidden); }

// Iterations whose slots are kept: a function of shape alone, because the order of sums in the gradients depends on it.
DASH_HD inline int64_t tape_capacity(int genes, int hidden, int stages, int64_t four_bytes) {
    const int64_t budget = int64_t(16) << 20, group = slot_size(genes, hidden) * stages * four_bytes;
    const int64_t n = budget / group;
    return n < 2 ? 0 : (n < 256 ? n : 256);
}

// Takes pieces from two stretches of memory.
struct Bump {
    char *near, *far;
    int64_t near_bytes, near_used, far_used;

    DASH_HD static int64_t whole(int64_t bytes) { return (bytes + 15) / 16 * 16; }
    DASH_HD bool fits(int64_t bytes) const { return near_used + whole(bytes) <= near_bytes; }
    DASH_HD char* take_near(int64_t bytes) {
        char* p = near + near_used;
        near_used += whole(bytes);
        return p;
    }
    DASH_HD char* take_far(int64_t bytes) {
        char* p = far + far_used;
        far_used += whole(bytes);
        return p;
    }
    template <class U>
    DASH_HD U* take(int64_t count) {
        const int64_t bytes = count * int64_t(sizeof(U));
        return reinterpret_cast<U*>(fits(bytes) ? take_near(bytes) : take_far(bytes));
    }
};

struct Needs {
    int64_t near_bytes, far_bytes;
    int64_t far_weights;  // of far_bytes: weights for which there was no room near
};

enum Purpose : int { kForSolve, kForTraining };

template <class T>
DASH_HD inline void place_matrix(Bump& bump, Matrix<T>& A, const MatrixView<T>& view, int genes, int hidden) {
    A.view = &view;
    A.compressed = view.compressed;
    if (view.compressed) {
        const int64_t nnz = view.nnz;
        A.by_hidden = bump.take<T>(nnz);
        A.by_gene = bump.take<T>(nnz);
        A.index = bump.take<uint16_t>(nnz);
        A.gene_index = bump.take<uint16_t>(nnz);
        A.ptr = bump.take<int32_t>(hidden + 1);
        A.gene_ptr = bump.take<int32_t>(genes + 1);
        A.near_panels = 0;
        return;
    }
    const int64_t bytes = int64_t(genes) * int64_t(sizeof(Four<T>));
    const int panels = hidden / kPanel;
    const int64_t room = (bump.near_bytes - bump.near_used) / bytes;
    A.near_panels = room < panels ? static_cast<int>(room > 0 ? room : 0) : panels;
    A.near_panel = reinterpret_cast<Four<T>*>(bump.take_near(A.near_panels * bytes));
    A.far_panel = reinterpret_cast<Four<T>*>(bump.take_far((panels - A.near_panels) * bytes));
}

// Fill the pointers of a context for a model. What every phase reads comes first, then the weights, then states.
template <class T>
DASH_HD inline Needs place(Context<T>& c, const ModelView<T>& model, const Method<T>& method, Purpose purpose,
                           int64_t state_limit, char* near, int64_t near_bytes, char* far) {
    typedef Four<T> F;
    Bump bump{near, far, near_bytes, 0, 0};
    c.G = model.G, c.m = model.m;
    c.genes = padded_genes(model.G), c.hidden = padded_hidden(model.m);
    const int64_t genes = c.genes, hidden = c.hidden;
    c.partial = bump.take<double>(kSumItems * kSamples);
    c.z[0] = bump.take<F>(hidden), c.z[1] = bump.take<F>(hidden);
    for (int k = 0; k < 2; ++k) c.b[k] = bump.take<T>(hidden);
    c.v = bump.take<T>(genes), c.rate = bump.take<T>(genes);
    c.sums = bump.take<F>(genes), c.prods = bump.take<F>(genes);
    for (int k = 0; k < 2; ++k) place_matrix(bump, c.W[k], model.W[k], c.genes, c.hidden);
    for (int k = 0; k < 2; ++k) place_matrix(bump, c.U[k], model.U[k], c.genes, c.hidden);
    const int64_t far_weights = bump.far_used;
    c.y = bump.take<F>(genes), c.stage = bump.take<F>(genes);
    const bool train = purpose == kForTraining;
    // the reverse sweep's gradients of the stages lie where the forward sweep's derivatives were
    F* sevens = bump.take<F>(7 * genes);
    c.k = sevens, c.y_bar = sevens;
    c.capacity = train ? tape_capacity(c.genes, c.hidden, method.stages, sizeof(F)) : 0;
    c.state_limit = train ? state_limit : 0;
    if (train) {
        c.bar = bump.take<F>(genes), c.v_bar = bump.take<F>(genes);
        for (int k = 0; k < 2; ++k) c.b_bar[k] = bump.take<F>(hidden), c.b_grad[k] = bump.take<T>(hidden);
        c.v_grad = bump.take<T>(genes);
        c.sizes = reinterpret_cast<F*>(bump.take_far((c.capacity + state_limit) * sizeof(F)));
        c.states = reinterpret_cast<F*>(bump.take_far(state_limit * genes * sizeof(F)));
        for (int k = 0; k < 2; ++k) {
            Matrix<T>* pair[2] = {&c.W[k], &c.U[k]};
            for (Matrix<T>* A : pair) {
                const int64_t entries = A->compressed ? A->view->nnz : int64_t(model.G) * model.m;
                A->grad = reinterpret_cast<T*>(bump.take_far(entries * sizeof(T)));
            }
        }
    }
    const int64_t group = slot_size(c.genes, c.hidden) * method.stages;
    c.tape = reinterpret_cast<F*>(bump.take_far((c.capacity + 2) * group * sizeof(F)));
    return {bump.near_used, bump.far_used, far_weights};
}

}  // namespace gpu
}  // namespace dash
