// The PHOENIX right-hand side and its reverse, and the tape that keeps what the reverse needs.
#pragma once
#include "matrix.hpp"

namespace dash {
namespace gpu {

// One evaluation's part of the tape.
template <class T>
struct Slot {
    Four<T>*sums, *prods, *derivative, *z[2], *z_bar[2];
};

// Slots of iteration n; those beyond the capacity share two groups in turn.
template <class T, int K>
DASH_BLOCK Four<T>* slot_memory(const Context<T, K>* c, int64_t n, int stage) {
    const int64_t group = n < c->capacity ? n : c->capacity + n % 2;
    return c->tape + (group * c->method.stages + stage) * slot_size(c->rows, c->units);
}

template <class T, int K>
DASH_BLOCK Slot<T> slot_at(const Context<T, K>* c, int64_t n, int stage) {
    Four<T>* p = slot_memory(c, n, stage);
    const int64_t rows = c->rows, units = c->units;
    Four<T>* z = p + 3 * rows;
    return {p, p + rows, p + 2 * rows, {z, z + units}, {z + 2 * units, z + 3 * units}};
}

// Derivative of stage j of iteration n; that at the new state (j = 6, or 4 of rk4) is the first of the next iteration.
template <class T, int K>
DASH_BLOCK Four<T>* derivative(const Context<T, K>* c, int64_t n, int j) {
    const int stages = c->method.stages;
    const int64_t at = j == 0 ? n % 2 : (j == stages ? (n + 1) % 2 : j + 1);
    return c->k + at * c->rows;
}

// Weights from the caller's order; ends with a barrier.
template <class B, class T, int K>
DASH_PHASE void load_model(B block, Context<T, K>* c, const Params<T>* params) {
    for (int k = 0; k < 2; ++k) {
        load_matrix(block, c, &c->W[k]);
        load_matrix(block, c, &c->U[k]);
        block.for_all(c->hidden, [=](int h) {
            c->b[k][h] = h < c->m ? params->tensor[k ? B_PRODS : B_SUMS][h] : T(0);
        });
    }
    block.for_all_sync(c->genes, [=](int g) {
        const T v = g < c->G ? params->tensor[V][g] : T(0);
        c->v[g] = v;
        c->rate[g] = v > T(0) ? v : T(0);
    });
}

// A sample from a row of [*, G], or the resting state 1/2 for a null row and padded genes.
template <class T>
DASH_BLOCK T start_value(const T* row, int g, int G) {
    return row != nullptr && g < G ? row[g] : T(0.5);
}

// Activations of a row at `state`, at hand and in the slot.
template <class T, int K>
DASH_BLOCK void activate(Context<T, K>* c, const Slot<T>& slot, int row, const Four<T>& state) {
    Four<T> sums, prods;
    DASH_UNROLL for (int s = 0; s < kSamples; ++s) activations(state.s[s], sums.s[s], prods.s[s]);
    c->sums[row] = sums;
    c->prods[row] = prods;
    slot.sums[row] = sums;
    slot.prods[row] = prods;
}

// dy/dt at `state`, whose activations are at hand: into the slot and into `k`.
template <class B, class T, int K>
DASH_PHASE void evaluate(B block, Context<T, K>* c, const Four<T>* state, int64_t n, int stage, Four<T>* k) {
    const Slot<T> slot = slot_at(c, n, stage);
    to_hidden(block, c, &c->W[0], &c->W[1], c->sums, c->prods, [=](int branch, int h, int tile, int s, T sum) {
        const int unit = tile * c->hidden + h;
        T z = sum + c->b[branch][h];
        if (branch) z = std::exp(z);
        c->z[branch][unit].s[s] = z;
        (branch ? slot.z[1] : slot.z[0])[unit].s[s] = z;
    });
    to_genes(block, c, &c->U[0], &c->U[1], c->z[0], c->z[1],
             [=](int row, int g, const Four<T>& sums, const Four<T>& prods) {
                 const Four<T> y = state[row];
                 const T rate = c->rate[g];
                 Four<T> d;
                 DASH_UNROLL for (int s = 0; s < kSamples; ++s)
                     d.s[s] = rate * ((sums.s[s] + prods.s[s]) - y.s[s]);
                 slot.derivative[row] = d;
                 k[row] = d;
             });
}

// First half of the reverse of an evaluation: gradients of the hidden units, at hand and in the slot. The upstream
// gradient times relu(v) stands in `sums` and in the slot in place of the derivative. Ends with a barrier.
template <class B, class T, int K>
DASH_PHASE void reverse_to_hidden(B block, Context<T, K>* c, int64_t n, int stage) {
    const Slot<T> slot = slot_at(c, n, stage);
    to_hidden(block, c, &c->U[0], &c->U[1], c->sums, c->sums, [=](int branch, int h, int tile, int s, T sum) {
        const int unit = tile * c->hidden + h;
        const T bar = branch ? sum * slot.z[1][unit].s[s] : sum;
        c->z[branch][unit].s[s] = bar;
        (branch ? slot.z_bar[1] : slot.z_bar[0])[unit].s[s] = bar;
        c->b_bar[branch][unit].s[s] += bar;
    });
}

// The whole reverse: the gradient for the state goes to y_bar.
template <class B, class T, int K>
DASH_PHASE void reverse(B block, Context<T, K>* c, int64_t n, int stage, Four<T>* y_bar) {
    reverse_to_hidden(block, c, n, stage);
    const Slot<T> slot = slot_at(c, n, stage);
    to_genes(block, c, &c->W[0], &c->W[1], c->z[0], c->z[1],
             [=](int row, int, const Four<T>& sums, const Four<T>& prods) {
                 const Four<T> s = slot.sums[row], scaled = c->sums[row];
                 Four<T> out;
                 DASH_UNROLL for (int l = 0; l < kSamples; ++l)
                     out.s[l] = activations_reverse(s.s[l], sums.s[l], prods.s[l]) - scaled.s[l];
                 y_bar[row] = out;
             });
}

// Sum over genes of f(row) per sample: parts over 32 lanes each, added by `gene_total`. Two neighbouring calls without a
// barrier between the reading of the first sums and the second call differ in `turn`, 0 or 1. Ends with a barrier.
template <class A, class B, class T, int K, class F>
DASH_BLOCK void gene_sums(B block, Context<T, K>* c, int turn, F f) {
    constexpr int kParts = kSumParts<K>;
    const int span = round_up(c->genes, kLanes * kParts) / kParts, genes = c->genes;
    block.template warp_sums<kSamples, A>(
        0, kParts * K,
        [=](int item, int lane, A* acc) {
            const int tile = item % K, begin = item / K * span, end = begin + span < genes ? begin + span : genes;
            for (int g = begin + lane; g < end; g += kLanes) {
                const Four<A> q = f(tile * genes + g);
                DASH_UNROLL for (int s = 0; s < kSamples; ++s) acc[s] += q.s[s];
            }
        },
        [=](int item, int s, A sum) { c->partial[(turn * kParts * K + item) * kSamples + s] = double(sum); });
    block.barrier();
}

template <class T, int K>
DASH_BLOCK double gene_total(const Context<T, K>* c, int turn, int sample) {
    constexpr int kParts = kSumParts<K>;
    double total = 0;
    for (int part = 0; part < kParts; ++part) total += c->partial[(turn * kParts + part) * c->kAll + sample];
    return total;
}

// Add the sums of turn 0 of all samples to a number of the context.
template <class B, class T, int K>
DASH_BLOCK void add_totals(B block, Context<T, K>* c, double* sum) {
    block.per_block(c->kAll, [=](int s) { c->control.ratio[s] = gene_total(c, 0, s); });
    block.per_block(1, [=](int) {
        for (int s = 0; s < c->kAll; ++s) *sum += c->control.ratio[s];
    });
}

template <class T, int K>
DASH_BLOCK double gene_norm(const Context<T, K>* c, int turn, int sample) {
    return std::sqrt(gene_total(c, turn, sample) / c->G);
}

}  // namespace gpu
}  // namespace dash
