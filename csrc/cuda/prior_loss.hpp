// The prior term of the loss (mirrors csrc/cpu/prior_loss.hpp): at random states the model should react as the prior
// network does. Four states are a tile, and as many tiles are taken at once as of samples; the slots of the tape, which
// is free by then, hold what the gradients need.
#pragma once
#include "adjoint.hpp"

namespace dash {
namespace gpu {

// K tiles of states from c->first on: forward, and back to the hidden units; their squares go to c->prior.
template <class B, class T, int K>
DASH_PHASE void prior_tiles(B block, Context<T, K>* c, int64_t n, int stage) {
    block.for_all_sync(c->rows, [=](int row) {
        const PriorLossArgs<T>& prior = c->run->args.objective.prior;
        const Place at = place_of<K>(row, c->genes);
        Four<T> y;
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) {
            const int64_t point = c->first + at.tile * kSamples + s;
            y.s[s] = start_value(point < prior.points ? prior.states + point * c->G : nullptr, at.at, c->G);
        }
        c->y[row] = y;
        activate(c, slot_at(c, n, stage), row, y);
    });
    evaluate(block, c, c->y, n, stage, derivative(c, 0, 0));
    gene_sums<double>(block, c, 0, [=](int row) {
        const PriorLossArgs<T>& prior = c->run->args.objective.prior;
        const Place at = place_of<K>(row, c->genes);
        const Slot<T> slot = slot_at(c, n, stage);
        const double scale = 2.0 * (1 - c->run->args.objective.tau) / (double(prior.points) * c->G);
        Four<double> squares{}, response{};
        const bool gene = at.at < c->G;
        const Four<T>* states = c->y + at.tile * c->genes;
        for (int64_t k = gene ? prior.ptr[at.at] : 0; gene && k < prior.ptr[at.at + 1]; ++k) {
            const Four<T> y = states[prior.index[k]];
            DASH_UNROLL for (int s = 0; s < kSamples; ++s) response.s[s] += prior.value[k] * double(y.s[s]);
        }
        const Four<T> d = slot.derivative[row], y = c->y[row];
        Four<T> scaled{}, v_bar = c->v_bar[row];
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) {
            if (!gene || c->first + at.tile * kSamples + s >= prior.points) continue;
            // the derivative is rate * (c - y); without multipliers the rate is 1 and c itself is compared
            const double miss = double(d.s[s]) + double(y.s[s]) - response.s[s];
            const T upstream = static_cast<T>(scale * miss);
            squares.s[s] = miss * miss;
            v_bar.s[s] += upstream * d.s[s];
            scaled.s[s] = c->rate[at.at] * upstream;
        }
        c->v_bar[row] = v_bar;
        c->sums[row] = scaled;
        slot.derivative[row] = scaled;
        return squares;
    });
    add_totals(block, c, &c->prior);
    reverse_to_hidden(block, c, n, stage);
}

// Slots that lie together: those of a chunk of the tape, or of the two iterations that it always has.
template <class T, int K>
DASH_BLOCK int64_t prior_slots(const Context<T, K>* c) {
    const int64_t iterations = c->capacity > kChunk ? kChunk : (c->capacity > 0 ? c->capacity : 2);
    return iterations * c->method.stages;
}

// Add (1 - tau) * (gradient of the mean square) to the gradients; c->prior, 0 before, gets the mean square.
template <class B, class T, int K>
DASH_PHASE void prior_loss(B block, Context<T, K>* c) {
    block.for_all(c->genes, [=](int g) {
        if (!c->run->args.objective.prior.multipliers) c->rate[g] = g < c->G ? T(1) : T(0);
    });
    clear_small(block, c);
    for (block.per_block(1, [=](int) { c->first = 0; }); c->first < c->run->args.objective.prior.points;
         block.per_block(1, [=](int) { c->first += c->kAll; })) {
        const int64_t slot = c->first / c->kAll % prior_slots(c);
        prior_tiles(block, c, slot / c->method.stages, static_cast<int>(slot % c->method.stages));
        const int64_t used = c->first / c->kAll % prior_slots(c) + 1;
        if (used < prior_slots(c) && c->first + c->kAll < c->run->args.objective.prior.points) continue;
        for (int i = 0; i < kMatrices; ++i) product(block, c, i, 0, used);
        block.barrier();
    }
    if (!c->run->args.objective.prior.multipliers)
        block.for_all_sync(c->rows, [=](int row) { c->v_bar[row] = Four<T>{}; });
    block.for_all_sync(c->genes, [=](int g) { c->rate[g] = c->v[g] > T(0) ? c->v[g] : T(0); });
    add_small(block, c);
    block.per_block(1, [=](int) { c->prior /= double(c->run->args.objective.prior.points) * c->G; });
}

}  // namespace gpu
}  // namespace dash
