// The prior term of the loss (mirrors csrc/cpu/prior_loss.hpp): at random states the model should react as the prior
// network does. Four states are a tile; the slots of the tape, which is free by then, hold what the gradients need.
#pragma once
#include "adjoint.hpp"

namespace dash {
namespace gpu {

// One tile, four states from `first` on: forward, and back to the hidden units; its squares go to c->prior.
template <class B, class T>
DASH_PHASE void prior_tile(B block, Context<T>* c, int64_t first, int64_t n, int stage) {
    block.each(c->genes, [=](int g) {
        const PriorLossArgs<T>& prior = c->run->prior;
        Four<T> y;
        DASH_UNROLL for (int s = 0; s < kSamples; ++s)
            y.s[s] = start_value(first + s < prior.points ? prior.states + (first + s) * c->G : nullptr, g, c->G);
        c->y[g] = y;
        activate(c, slot_at(c, n, stage), g, y);
    });
    evaluate(block, c, c->y, n, stage, derivative(c, 0, 0));
    gene_sums<double>(block, c, [=](int g) {
        const PriorLossArgs<T>& prior = c->run->prior;
        const Slot<T> slot = slot_at(c, n, stage);
        const double scale = 2.0 * (1 - c->run->tau) / (double(prior.points) * c->G);
        Four<double> squares{}, response{};
        const bool gene = g < c->G;
        for (int64_t k = gene ? prior.ptr[g] : 0; gene && k < prior.ptr[g + 1]; ++k) {
            const Four<T> y = c->y[prior.index[k]];
            DASH_UNROLL for (int s = 0; s < kSamples; ++s) response.s[s] += prior.value[k] * double(y.s[s]);
        }
        const Four<T> d = slot.derivative[g], y = c->y[g];
        Four<T> scaled{}, v_bar = c->v_bar[g];
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) {
            if (!gene || first + s >= prior.points) continue;
            // the derivative is rate * (c - y); without multipliers the rate is 1 and c itself is compared
            const double miss = double(d.s[s]) + double(y.s[s]) - response.s[s];
            const T upstream = static_cast<T>(scale * miss);
            squares.s[s] = miss * miss;
            v_bar.s[s] += upstream * d.s[s];
            scaled.s[s] = c->rate[g] * upstream;
        }
        c->v_bar[g] = v_bar;
        c->sums[g] = scaled;
        slot.derivative[g] = scaled;
        return squares;
    });
    block.each(1, [=](int) {
        for (int s = 0; s < kSamples; ++s) c->prior += gene_total(c, s);
    });
    reverse_to_hidden(block, c, n, stage);
}

// Add (1 - tau) * (gradient of the mean square) to the gradients; c->prior, 0 before, gets the mean square.
template <class B, class T>
DASH_PHASE void prior_loss(B block, Context<T>* c) {
    const int stages = c->method.stages;
    block.apart(c->genes, [=](int g) {
        if (!c->run->prior.multipliers) c->rate[g] = g < c->G ? T(1) : T(0);
    });
    clear_small(block, c);
    // slots that lie together: those of a chunk of the tape, or of the two iterations that it always has
    const int64_t iterations = c->capacity > kChunk ? kChunk : (c->capacity > 0 ? c->capacity : 2);
    const int64_t most = iterations * stages;
    for (int64_t first = 0, used = 0; first < c->run->prior.points; first += kSamples) {
        prior_tile(block, c, first, used / stages, static_cast<int>(used % stages));
        if (++used < most && first + kSamples < c->run->prior.points) continue;
        for (int i = 0; i < 4; ++i) product(block, c, i, 0, used, false);
        block.barrier();
        used = 0;
    }
    if (!c->run->prior.multipliers) block.each(c->genes, [=](int g) { c->v_bar[g] = Four<T>{}; });
    block.each(c->genes, [=](int g) { c->rate[g] = c->v[g] > T(0) ? c->v[g] : T(0); });
    add_small(block, c, false);
    block.each(1, [=](int) { c->prior /= double(c->run->prior.points) * c->G; });
}

}  // namespace gpu
}  // namespace dash
