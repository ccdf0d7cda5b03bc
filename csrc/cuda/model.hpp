// The PHOENIX right-hand side of a block and its reverse, and the tape that keeps what the reverse needs.
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
template <class T>
DASH_BLOCK Four<T>* slot_memory(const Context<T>* c, int64_t n, int stage) {
    const int64_t group = n < c->capacity ? n : c->capacity + n % 2;
    return c->tape + (group * c->method.stages + stage) * slot_size(c->genes, c->hidden);
}

template <class T>
DASH_BLOCK Slot<T> slot_at(const Context<T>* c, int64_t n, int stage) {
    Four<T>* p = slot_memory(c, n, stage);
    const int64_t genes = c->genes, hidden = c->hidden;
    Four<T>* z = p + 3 * genes;
    return {p, p + genes, p + 2 * genes, {z, z + hidden}, {z + 2 * hidden, z + 3 * hidden}};
}

// Derivative of stage j of iteration n; that at the new state (j = 6, or 4 of rk4) is the first of the next iteration.
template <class T>
DASH_BLOCK Four<T>* derivative(const Context<T>* c, int64_t n, int j) {
    const int stages = c->method.stages;
    const int64_t at = j == 0 ? n % 2 : (j == stages ? (n + 1) % 2 : j + 1);
    return c->k + at * c->genes;
}

// Weights from the caller's order; ends with a barrier.
template <class B, class T>
DASH_PHASE void load_model(B block, Context<T>* c, const ModelView<T>* view) {
    for (int k = 0; k < 2; ++k) {
        load_matrix(block, c, &c->W[k]);
        load_matrix(block, c, &c->U[k]);
        block.apart(c->hidden, [=](int h) { c->b[k][h] = h < c->m ? view->b[k][h] : T(0); });
    }
    block.each(c->genes, [=](int g) {
        const T v = g < c->G ? view->v[g] : T(0);
        c->v[g] = v;
        c->rate[g] = v > T(0) ? v : T(0);
    });
}

// Activations of gene g at `state`, near and in the slot.
template <class T>
DASH_BLOCK void activate(Context<T>* c, const Slot<T>& slot, int g, const Four<T>& state) {
    Four<T> sums, prods;
    DASH_UNROLL for (int s = 0; s < kSamples; ++s) activations(state.s[s], sums.s[s], prods.s[s]);
    c->sums[g] = sums;
    c->prods[g] = prods;
    slot.sums[g] = sums;
    slot.prods[g] = prods;
}

// dy/dt at `state`, whose activations stand near: into the slot and into `k`.
template <class B, class T>
DASH_PHASE void evaluate(B block, Context<T>* c, const Four<T>* state, int64_t n, int stage, Four<T>* k) {
    const Slot<T> slot = slot_at(c, n, stage);
    for (int branch = 0; branch < 2; ++branch) {
        Four<T>* kept = branch ? slot.z[1] : slot.z[0];
        to_hidden(block, c, &c->W[branch], branch ? c->prods : c->sums, branch * (c->hidden / kHidden),
                  [=](int h, int s, T sum) {
                      T z = sum + c->b[branch][h];
                      if (branch) z = std::exp(z);
                      c->z[branch][h].s[s] = z;
                      kept[h].s[s] = z;
                  });
    }
    block.barrier();
    to_genes(block, c, &c->U[0], &c->U[1], c->z[0], c->z[1], [=](int g, const Four<T>& sums, const Four<T>& prods) {
        const Four<T> y = state[g];
        const T rate = c->rate[g];
        Four<T> d;
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) d.s[s] = rate * ((sums.s[s] + prods.s[s]) - y.s[s]);
        slot.derivative[g] = d;
        k[g] = d;
    });
}

// First half of the reverse of an evaluation: gradients of the hidden units, near and in the slot. The upstream gradient
// times relu(v) stands near in `sums` and in the slot in place of the derivative. Ends with a barrier.
template <class B, class T>
DASH_PHASE void reverse_to_hidden(B block, Context<T>* c, int64_t n, int stage) {
    const Slot<T> slot = slot_at(c, n, stage);
    for (int branch = 0; branch < 2; ++branch) {
        Four<T>* kept = branch ? slot.z_bar[1] : slot.z_bar[0];
        to_hidden(block, c, &c->U[branch], c->sums, branch * (c->hidden / kHidden), [=](int h, int s, T sum) {
            const T bar = branch ? sum * slot.z[1][h].s[s] : sum;
            c->z[branch][h].s[s] = bar;
            kept[h].s[s] = bar;
            c->b_bar[branch][h].s[s] += bar;
        });
    }
    block.barrier();
}

// The whole reverse: the gradient for the state goes to y_bar.
template <class B, class T>
DASH_PHASE void reverse(B block, Context<T>* c, int64_t n, int stage, Four<T>* y_bar) {
    reverse_to_hidden(block, c, n, stage);
    const Slot<T> slot = slot_at(c, n, stage);
    to_genes(block, c, &c->W[0], &c->W[1], c->z[0], c->z[1], [=](int g, const Four<T>& sums, const Four<T>& prods) {
        const Four<T> s = slot.sums[g], scaled = c->sums[g];
        Four<T> out;
        DASH_UNROLL for (int l = 0; l < kSamples; ++l)
            out.s[l] = activations_reverse(s.s[l], sums.s[l], prods.s[l]) - scaled.s[l];
        y_bar[g] = out;
    });
}

// Sum over genes of f(g) per sample: 16 parts over 32 lanes each, added by `gene_total`. Ends with a barrier.
template <class A, class B, class T, class F>
DASH_BLOCK void gene_sums(B block, Context<T>* c, F f) {
    const int span = round_up(c->genes, kLanes * kSumItems) / kSumItems, genes = c->genes;
    block.template warp_sums<kSamples, A>(
        0, kSumItems,
        [=](int item, int lane, A* acc) {
            const int end = (item + 1) * span < genes ? (item + 1) * span : genes;
            for (int g = item * span + lane; g < end; g += kLanes) {
                const Four<A> q = f(g);
                DASH_UNROLL for (int s = 0; s < kSamples; ++s) acc[s] += q.s[s];
            }
        },
        [=](int item, int s, A sum) { c->partial[item * kSamples + s] = double(sum); });
    block.barrier();
}

template <class T>
DASH_BLOCK double gene_total(const Context<T>* c, int s) {
    double total = 0;
    for (int item = 0; item < kSumItems; ++item) total += c->partial[item * kSamples + s];
    return total;
}

template <class T>
DASH_BLOCK double gene_norm(const Context<T>* c, int s) {
    return std::sqrt(gene_total(c, s) / c->G);
}

}  // namespace gpu
}  // namespace dash
