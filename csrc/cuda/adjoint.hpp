// Reverse sweep of a block over the iterations of its tape (discrete adjoint; mirrors csrc/cpu/adjoint.hpp).
#pragma once
#include "integrate.hpp"

namespace dash {
namespace gpu {

// Iterations whose slots make up one product for the weight gradients.
constexpr int64_t kChunk = 32;

template <class B, class T>
DASH_PHASE void one_step_back(B block, Context<T>* c, int64_t n) {
    const int stages = c->method.stages;
    for (int i = stages - 1; i >= 0; --i) {
        Four<T>* derivatives = slot_at(c, n, i).derivative;
        block.each(c->genes, [=](int g) {
            Four<T> upstream{};
            const Four<T> bar = c->bar[g], d = derivatives[g];
            DASH_UNROLL for (int s = 0; s < kSamples; ++s)
                upstream.s[s] = (c->step.s[s] * c->method.b[i]) * bar.s[s];
            DASH_UNROLL for (int l = 1; l < kMaxStages; ++l) {
                if (l <= i || l >= stages || c->method.a[l][i] == T(0)) continue;
                const Four<T> later = c->y_bar[int64_t(l) * c->genes + g];
                DASH_UNROLL for (int s = 0; s < kSamples; ++s)
                    upstream.s[s] += (c->step.s[s] * c->method.a[l][i]) * later.s[s];
            }
            const T rate = c->rate[g];
            Four<T> scaled, v_bar = c->v_bar[g];
            DASH_UNROLL for (int s = 0; s < kSamples; ++s) {
                v_bar.s[s] += upstream.s[s] * d.s[s];
                scaled.s[s] = rate * upstream.s[s];
            }
            c->v_bar[g] = v_bar;
            c->sums[g] = scaled;
            derivatives[g] = scaled;
        });
        reverse(block, c, n, i, c->y_bar + int64_t(i) * c->genes);
    }
    block.each(c->genes, [=](int g) {
        Four<T> bar = c->bar[g], sum = c->y_bar[g];
        for (int i = 1; i < stages; ++i)
            DASH_UNROLL for (int s = 0; s < kSamples; ++s) sum.s[s] += c->y_bar[int64_t(i) * c->genes + g].s[s];
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) bar.s[s] += sum.s[s];
        c->bar[g] = bar;
    });
}

template <class B, class T>
DASH_PHASE void evaluate_again(B block, Context<T>* c, int64_t n) {
    const Four<T>* y = c->states + (n - c->capacity) * c->genes;
    block.each(c->genes, [=](int g) { activate(c, slot_at(c, n, 0), g, y[g]); });
    evaluate(block, c, y, n, 0, derivative(c, n, 0));
    for (int i = 1; i < c->method.stages; ++i) {
        stage_state(block, c, y, n, i, n, i);
        evaluate(block, c, c->stage, n, i, derivative(c, n, i));
    }
}

// One matrix's gradient from `slots` slots, the first of iteration n the first.
template <class B, class T>
DASH_PHASE void product(B block, Context<T>* c, int i, int64_t n, int64_t slots, bool fresh) {
    const Slot<T> s = slot_at(c, n, 0);
    const Four<T>* left = i == 0 ? s.z_bar[0] : i == 1 ? s.z_bar[1] : i == 2 ? s.z[0] : s.z[1];
    const Four<T>* right = i == 0 ? s.sums : i == 1 ? s.prods : s.derivative;
    add_outer(block, c, matrix_of(c, i), left, right, slot_size(c->genes, c->hidden), slots, fresh);
}

// The sums over samples that gathered beside the slots: gradients of b, and of v from upstream * relu(v) * (c - y).
template <class B, class T>
DASH_PHASE void add_small(B block, Context<T>* c, bool fresh) {
    block.apart(c->hidden, [=](int h) {
        for (int k = 0; k < 2; ++k) {
            const Four<T> b = c->b_bar[k][h];
            const T total = (b.s[0] + b.s[1]) + (b.s[2] + b.s[3]);
            c->b_grad[k][h] = fresh ? total : c->b_grad[k][h] + total;
        }
    });
    block.each(c->genes, [=](int g) {
        const Four<T> b = c->v_bar[g];
        const T rate = c->rate[g];
        const T total = rate > T(0) ? ((b.s[0] + b.s[1]) + (b.s[2] + b.s[3])) / rate : T(0);
        c->v_grad[g] = fresh ? total : c->v_grad[g] + total;
    });
}

template <class B, class T>
DASH_PHASE void clear_small(B block, Context<T>* c) {
    block.apart(c->hidden, [=](int h) { c->b_bar[0][h] = c->b_bar[1][h] = Four<T>{}; });
    block.each(c->genes, [=](int g) { c->v_bar[g] = Four<T>{}; });
}

// From the gradient for the end states in c->bar to that for the start states, and into the weights' gradients: the
// first tile of a batch (`fresh`) overwrites them. c->bar must have been written before a barrier.
template <class B, class T>
DASH_PHASE void sweep_back(B block, Context<T>* c, bool fresh) {
    clear_small(block, c);
    bool first = fresh;
    for (int64_t n = c->iterations - 1; n >= 0; --n) {
        block.each(1, [=](int) { c->step = c->sizes[n]; });
        if (n >= c->capacity) evaluate_again(block, c, n);
        one_step_back(block, c, n);
        if (n < c->capacity && n % kChunk) continue;  // the slots of a chunk lie together
        const int64_t kept = c->iterations < c->capacity ? c->iterations : c->capacity;
        const int64_t count = n >= c->capacity ? 1 : (n + kChunk < kept ? kChunk : kept - n);
        for (int i = 0; i < 4; ++i) product(block, c, i, n, count * c->method.stages, first);
        block.barrier();
        first = false;
    }
    for (int i = 0; i < 4 && first; ++i)  // no sample took a step
        block.apart(matrix_of(c, i)->compressed ? matrix_of(c, i)->view->nnz : c->G * c->m,
                    [=](int k) { matrix_of(c, i)->grad[k] = T(0); });
    add_small(block, c, fresh);
}

// A sample from a row of [*, G], or the resting state 1/2 for a null row and padded genes.
template <class T>
DASH_BLOCK T start_value(const T* row, int g, int G) {
    return row != nullptr && g < G ? row[g] : T(0.5);
}

}  // namespace gpu
}  // namespace dash
