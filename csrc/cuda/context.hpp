// The working memory of a block or a team. `place` decides what is in shared memory and what in its part of
// global memory; the host calls it with null pointers to learn how much a run needs of either. Each block of a team has
// a context of its own, with the same pointers and the same step control, worked out by each for itself; what they
// point to is the team's, in global memory.
#pragma once
#include "../core/activation.hpp"
#include "../core/control.hpp"
#include "../core/trust.hpp"
#include "views.hpp"

namespace dash {
namespace gpu {

constexpr int kMaxStages = 6;

// Parts into which a sum over genes is cut; K tiles: 1 for a block, kTeamTiles for a team.
template <int K>
constexpr int kSumParts = K == 1 ? 16 : 64;

// Matrix in the form that the products read.
template <class T>
struct Matrix {
    const MatrixForm* form;
    const T* value;         // in that form, as is what follows
    const uint8_t* active;  // dense: 1 = active, null: all
    int compressed, shared_panels;
    Four<T>*shared_panel, *global_panel;  // dense: panel p, gene g: four hidden units
    T *by_hidden, *by_gene;          // compressed: values in either order
    const int32_t *ptr, *gene_ptr;
    const uint16_t *index, *gene_index;
    T* grad;
};

// Step control of n samples.
template <int n>
struct Control {
    double t[n], h[n], size[n], dt[n], ratio[n], d1[n], trial[n];
    int64_t limit[n], steps[n], rejected[n], evaluations[n];
    int status[n], todo[n], last[n];
    int keep[n];  // advance: 0 = take the new state, 1 = stay, 2 = stay and forget the slots
};

// Arrays of "rows" have a row per tile and gene: tile t, gene g in row t * genes + g; those of "units" likewise.
template <class T, int K>
struct Context {
    static constexpr int kAll = K * kSamples;  // samples
    int G, m, genes, hidden;                   // genes, hidden: padded
    int rows, units;                           // K * genes, K * hidden
    int parts, span;                           // of a dense hidden sum in a team: parts, genes in each
    Method<T> method;
    SolveOptions options;
    Matrix<T> W[2], U[2];
    T *b[2], *v, *rate;              // padded; rate = relu(v)
    Four<T>*sums, *prods;            // [rows] activations, inputs of the products with W; sums also the scaled upstream
    Four<T>* z[2];                   // [units] inputs of the products with U, or gradients of those with W
    Four<T>*y, *stage;               // [rows]
    Four<T>* k;                      // [7][rows] derivatives of the stages
    Four<T>*bar, *v_bar, *y_bar;     // [rows], [rows], [kMaxStages][rows]
    Four<T>* b_bar[2];               // [units]
    T *b_grad[2], *v_grad;           // [hidden], [genes]
    double* partial;                 // [2][kSumParts][kAll], in turns: one may be read while the other is written
    Four<T>* hidden_parts;           // team: [2][hidden][K][parts] of dense hidden sums
    int* bad;                        // something is not finite
    // tape: slots of `capacity` iterations and two more, then states of those that have no slots
    Four<T>*tape, *states;
    Four<T>* sizes;  // [capacity + state_limit][K] step sizes by iteration
    int64_t capacity, state_limit, iterations;
    int keep_tape;
    double* size_table;  // accepted sizes per sample, or null
    int64_t size_limit;
    Control<kAll> control;
    Four<T> step[K];  // the sizes of the current iteration
    Trust trust[kAll];
    AdamConstants<T> adam;
    double correction1;
    int64_t adam_step;
    // training: what would else be held in registers across calls
    const TrainView<T>* run;
    Outcome outcome;
    int64_t first;        // of the batch's pairs or of the prior's points that are at hand
    int64_t evaluations;  // before the batch
    int fresh[2];         // gradients of matrices, of vectors: to be overwritten, not added to
    double loss, prior;
    double trusted;       // longest step that the gradients of the batch need
    int again, tries;
};

// Row (or unit) i of n genes (or hidden units) as tile and gene.
struct Place {
    int tile, at;
};
template <int K>
DASH_HD inline Place place_of(int i, int n) {
    const int tile = K == 1 ? 0 : i / n;
    return {tile, i - tile * n};
}

DASH_HD inline int padded_genes(int G) { return (G + kLanes - 1) / kLanes * kLanes; }
DASH_HD inline int padded_hidden(int m) { return (m + kHidden - 1) / kHidden * kHidden; }

// A slot: activations of sums and prods, derivative (after the reverse: relu(v) * upstream), [rows] each; hidden sums,
// prods, and their gradients, [units] each.
DASH_HD inline int64_t slot_size(int rows, int units) { return 3 * int64_t(rows) + 4 * int64_t(units); }

// Iterations whose slots are kept: a function of shape alone, because the order of sums in the gradients depends on it.
// A team has the memory of the device to itself.
template <int K>
DASH_HD inline int64_t tape_capacity(int64_t slot_bytes, int stages) {
    const int64_t budget = int64_t(K == 1 ? 16 : 1024) << 20, group = slot_bytes * stages;
    const int64_t n = budget / group;
    return n < 2 ? 0 : (n < 256 ? n : 256);
}

// Takes pieces from two stretches of memory.
struct Bump {
    char *shared, *global;
    int64_t shared_bytes, shared_used, global_used;

    DASH_HD static int64_t whole(int64_t bytes) { return (bytes + 15) / 16 * 16; }
    DASH_HD bool fits(int64_t bytes) const { return shared_used + whole(bytes) <= shared_bytes; }
    DASH_HD char* take_shared(int64_t bytes) {
        char* p = shared + shared_used;
        shared_used += whole(bytes);
        return p;
    }
    DASH_HD char* take_global(int64_t bytes) {
        char* p = global + global_used;
        global_used += whole(bytes);
        return p;
    }
    template <class U>
    DASH_HD U* take(int64_t count) {
        const int64_t bytes = count * int64_t(sizeof(U));
        return reinterpret_cast<U*>(fits(bytes) ? take_shared(bytes) : take_global(bytes));
    }
};

struct Needs {
    int64_t shared_bytes, global_bytes;
    int64_t global_weights;  // of global_bytes: weights for which there was no shared memory
};

enum Purpose : int { kForSolve, kForTraining };

template <class T>
DASH_HD inline void place_matrix(Bump& bump, Matrix<T>& A, const MatrixForm& form, const Params<T>& params, int tensor,
                                 int genes, int hidden) {
    A.form = &form;
    A.value = params.tensor[tensor];
    A.active = params.mask[tensor];
    A.compressed = form.compressed;
    if (form.compressed) {
        const int64_t nnz = form.nnz;
        A.by_hidden = bump.take<T>(nnz);
        A.by_gene = bump.take<T>(nnz);
        A.index = bump.take<uint16_t>(nnz);
        A.gene_index = bump.take<uint16_t>(nnz);
        A.ptr = bump.take<int32_t>(hidden + 1);
        A.gene_ptr = bump.take<int32_t>(genes + 1);
        A.shared_panels = 0;
        return;
    }
    const int64_t bytes = int64_t(genes) * int64_t(sizeof(Four<T>));
    const int panels = hidden / kPanel;
    const int64_t room = (bump.shared_bytes - bump.shared_used) / bytes;
    A.shared_panels = room < panels ? static_cast<int>(room > 0 ? room : 0) : panels;
    A.shared_panel = reinterpret_cast<Four<T>*>(bump.take_shared(A.shared_panels * bytes));
    A.global_panel = reinterpret_cast<Four<T>*>(bump.take_global((panels - A.shared_panels) * bytes));
}

// Parts into which a team cuts the dense sums over genes: enough for the warps of any GPU, a function of shape alone.
template <class T, int K>
DASH_HD inline void cut(Context<T, K>& c) {
    constexpr int kItems = 3072;  // parts times panels, at least, where there are as many genes
    const int panels = c.hidden / kPanel, most = c.genes / kLanes, wanted = (kItems + panels - 1) / panels;
    const int parts = wanted < most ? wanted : most;
    c.span = padded_genes((c.genes + parts - 1) / parts);
    c.parts = (c.genes + c.span - 1) / c.span;
}

// Fill the pointers of a context for a model. What every phase reads comes first, then the weights, then states.
template <class T, int K>
DASH_HD inline Needs place(Context<T, K>& c, const Params<T>& params, const ModelForm& form, const Method<T>& method,
                           Purpose purpose, int64_t state_limit, char* shared, int64_t shared_bytes, char* global) {
    typedef Four<T> F;
    Bump bump{shared, global, shared_bytes, 0, 0};
    c.G = static_cast<int>(params.G), c.m = static_cast<int>(params.m);
    c.genes = padded_genes(c.G), c.hidden = padded_hidden(c.m);
    c.rows = K * c.genes, c.units = K * c.hidden;
    const int64_t genes = c.genes, hidden = c.hidden, rows = c.rows, units = c.units;
    c.partial = bump.take<double>(2 * kSumParts<K> * c.kAll);
    c.bad = bump.take<int>(1);
    c.z[0] = bump.take<F>(units), c.z[1] = bump.take<F>(units);
    for (int k = 0; k < 2; ++k) c.b[k] = bump.take<T>(hidden);
    c.v = bump.take<T>(genes), c.rate = bump.take<T>(genes);
    c.sums = bump.take<F>(rows), c.prods = bump.take<F>(rows);
    cut(c);
    c.hidden_parts = K == 1 ? nullptr : bump.take<F>(2 * units * c.parts);
    for (int k = 0; k < 2; ++k) place_matrix(bump, c.W[k], form.W[k], params, k ? W_PRODS : W_SUMS, c.genes, c.hidden);
    for (int k = 0; k < 2; ++k) place_matrix(bump, c.U[k], form.U[k], params, k ? U_PRODS : U_SUMS, c.genes, c.hidden);
    const int64_t global_weights = bump.global_used;
    c.y = bump.take<F>(rows), c.stage = bump.take<F>(rows);
    const bool train = purpose == kForTraining;
    // the reverse sweep's gradients of the stages lie where the forward sweep's derivatives were
    F* sevens = bump.take<F>(7 * rows);
    c.k = sevens, c.y_bar = sevens;
    const int64_t slot = slot_size(c.rows, c.units);
    c.capacity = train ? tape_capacity<K>(slot * sizeof(F), method.stages) : 0;
    c.state_limit = train ? state_limit : 0;
    if (train) {
        c.bar = bump.take<F>(rows), c.v_bar = bump.take<F>(rows);
        for (int k = 0; k < 2; ++k) c.b_bar[k] = bump.take<F>(units), c.b_grad[k] = bump.take<T>(hidden);
        c.v_grad = bump.take<T>(genes);
        c.sizes = reinterpret_cast<F*>(bump.take_global((c.capacity + state_limit) * K * sizeof(F)));
        c.states = reinterpret_cast<F*>(bump.take_global(state_limit * rows * sizeof(F)));
        for (int k = 0; k < 2; ++k) {
            Matrix<T>* pair[2] = {&c.W[k], &c.U[k]};
            for (Matrix<T>* A : pair) {
                const int64_t entries = A->compressed ? A->form->nnz : params.G * params.m;
                A->grad = reinterpret_cast<T*>(bump.take_global(entries * sizeof(T)));
            }
        }
    }
    c.tape = reinterpret_cast<F*>(bump.take_global((c.capacity + 2) * method.stages * slot * sizeof(F)));
    return {bump.shared_used, bump.global_used, global_weights};
}

}  // namespace gpu
}  // namespace dash
