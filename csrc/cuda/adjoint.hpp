// Reverse sweep over the iterations of a tape (discrete adjoint; mirrors csrc/cpu/adjoint.hpp).
#pragma once
#include "integrate.hpp"

namespace dash {
namespace gpu {

// Iterations whose slots make up one product for the weight gradients.
constexpr int64_t kChunk = 32;

template <class T, int K>
DASH_BLOCK Four<T> weighted_square(const Context<T, K>* c, int row, Four<T> x) {
    const T rate = c->rate[place_of<K>(row, c->genes).at];
    DASH_UNROLL for (int s = 0; s < kSamples; ++s) x.s[s] *= rate, x.s[s] *= x.s[s];
    return x;
}

// The step's part in trust, before the step is added to bar (mirrors ReverseSweep::check).
template <class B, class T, int K>
DASH_PHASE void check_step(B block, Context<T, K>* c) {
    const int stages = c->method.stages;
    gene_sums<T>(block, c, 0, [=](int row) {
        Four<T> sum{};
        DASH_UNROLL for (int i = 0; i < kMaxStages; ++i) {
            if (i >= stages || c->method.d[i] == T(0)) continue;
            const Four<T> bar = c->y_bar[int64_t(i) * c->rows + row];
            DASH_UNROLL for (int s = 0; s < kSamples; ++s) sum.s[s] += c->method.d[i] * bar.s[s];
        }
        return weighted_square(c, row, sum);
    });
    block.per_block(c->kAll, [=](int s) { c->control.ratio[s] = gene_total(c, 0, s); });
    gene_sums<T>(block, c, 1, [=](int row) { return weighted_square(c, row, c->bar[row]); });
    block.per_block(c->kAll, [=](int s) { c->control.d1[s] = gene_total(c, 1, s); });
    gene_sums<T>(block, c, 0, [=](int row) {
        Four<T> sum = c->bar[row];
        DASH_UNROLL for (int i = 1; i < kMaxStages; ++i) {
            if (i >= stages) continue;
            const Four<T> bar = c->y_bar[int64_t(i) * c->rows + row];
            DASH_UNROLL for (int s = 0; s < kSamples; ++s) sum.s[s] += c->method.c[i] * bar.s[s];
        }
        return weighted_square(c, row, sum);
    });
    block.per_block(c->kAll, [=](int s) {
        const double h = double(c->step[s / kSamples].s[s % kSamples]);
        trust_step(c->trust[s], c->method.adjoint, h, c->control.ratio[s], c->control.d1[s],
                   h * h * gene_total(c, 0, s));
    });
}

template <class B, class T, int K>
DASH_PHASE void one_step_back(B block, Context<T, K>* c, int64_t n) {
    const int stages = c->method.stages;
    for (int i = stages - 1; i >= 0; --i) {
        Four<T>* derivatives = slot_at(c, n, i).derivative;
        block.for_all_sync(c->rows, [=](int row) {
            const Place at = place_of<K>(row, c->genes);
            const Four<T>& step = c->step[at.tile];
            Four<T> upstream{};
            const Four<T> bar = c->bar[row], d = derivatives[row];
            DASH_UNROLL for (int s = 0; s < kSamples; ++s) upstream.s[s] = (step.s[s] * c->method.b[i]) * bar.s[s];
            DASH_UNROLL for (int l = 1; l < kMaxStages; ++l) {
                if (l <= i || l >= stages || c->method.a[l][i] == T(0)) continue;
                const Four<T> later = c->y_bar[int64_t(l) * c->rows + row];
                DASH_UNROLL for (int s = 0; s < kSamples; ++s)
                    upstream.s[s] += (step.s[s] * c->method.a[l][i]) * later.s[s];
            }
            const T rate = c->rate[at.at];
            Four<T> scaled, v_bar = c->v_bar[row];
            DASH_UNROLL for (int s = 0; s < kSamples; ++s) {
                v_bar.s[s] += upstream.s[s] * d.s[s];
                scaled.s[s] = rate * upstream.s[s];
            }
            c->v_bar[row] = v_bar;
            c->sums[row] = scaled;
            derivatives[row] = scaled;
        });
        reverse(block, c, n, i, c->y_bar + int64_t(i) * c->rows);
    }
    check_step(block, c);
    block.for_all_sync(c->rows, [=](int row) {
        Four<T> bar = c->bar[row], sum = c->y_bar[row];
        for (int i = 1; i < stages; ++i)
            DASH_UNROLL for (int s = 0; s < kSamples; ++s) sum.s[s] += c->y_bar[int64_t(i) * c->rows + row].s[s];
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) bar.s[s] += sum.s[s];
        c->bar[row] = bar;
    });
}

template <class B, class T, int K>
DASH_PHASE void evaluate_again(B block, Context<T, K>* c, int64_t n) {
    const Four<T>* y = c->states + (n - c->capacity) * c->rows;
    block.for_all_sync(c->rows, [=](int row) { activate(c, slot_at(c, n, 0), row, y[row]); });
    evaluate(block, c, y, n, 0, derivative(c, n, 0));
    for (int i = 1; i < c->method.stages; ++i) {
        stage_state(block, c, y, n, i, n, i);
        evaluate(block, c, c->stage, n, i, derivative(c, n, i));
    }
}

// One matrix's gradient from `slots` slots, the first of iteration n the first.
template <class B, class T, int K>
DASH_PHASE void product(B block, Context<T, K>* c, int i, int64_t n, int64_t slots) {
    const Slot<T> s = slot_at(c, n, 0);
    const Four<T>* left = i == 0 ? s.z_bar[0] : i == 1 ? s.z_bar[1] : i == 2 ? s.z[0] : s.z[1];
    const Four<T>* right = i == 0 ? s.sums : i == 1 ? s.prods : s.derivative;
    add_outer(block, c, matrix_of(c, i), left, right, slot_size(c->rows, c->units), slots,
              c->fresh[0]);
}

// Sum over all samples of one gene's rows or one hidden unit's units, n apart.
template <class T, int K>
DASH_BLOCK T over_samples(const Four<T>* of_tiles, int i, int n) {
    T total = T(0);
    DASH_UNROLL for (int tile = 0; tile < K; ++tile) {
        const Four<T> b = of_tiles[tile * n + i];
        const T part = (b.s[0] + b.s[1]) + (b.s[2] + b.s[3]);
        total = tile == 0 ? part : total + part;
    }
    return total;
}

// The sums over samples that gathered beside the slots: gradients of b, and of v from upstream * relu(v) * (c - y).
template <class B, class T, int K>
DASH_PHASE void add_small(B block, Context<T, K>* c) {
    const bool fresh = c->fresh[1];
    block.for_all(c->hidden, [=](int h) {
        for (int k = 0; k < 2; ++k) {
            const T total = over_samples<T, K>(c->b_bar[k], h, c->hidden);
            c->b_grad[k][h] = fresh ? total : c->b_grad[k][h] + total;
        }
    });
    block.for_all_sync(c->genes, [=](int g) {
        const T rate = c->rate[g];
        const T total = rate > T(0) ? over_samples<T, K>(c->v_bar, g, c->genes) / rate : T(0);
        c->v_grad[g] = fresh ? total : c->v_grad[g] + total;
    });
}

template <class B, class T, int K>
DASH_PHASE void clear_small(B block, Context<T, K>* c) {
    block.for_all(c->units, [=](int unit) { c->b_bar[0][unit] = c->b_bar[1][unit] = Four<T>{}; });
    block.for_all_sync(c->rows, [=](int row) { c->v_bar[row] = Four<T>{}; });
}

// From the gradient for the end states in c->bar to that for the start states, into the weights' gradients, and c->trust.
// c->bar must have been written before a barrier.
template <class B, class T, int K>
DASH_PHASE void sweep_back(B block, Context<T, K>* c) {
    clear_small(block, c);
    block.per_block(c->kAll, [=](int s) { c->trust[s] = fresh_trust(); });
    for (int64_t n = c->iterations - 1; n >= 0; --n) {
        block.per_block(K, [=](int tile) { c->step[tile] = c->sizes[n * K + tile]; });
        if (n >= c->capacity) evaluate_again(block, c, n);
        one_step_back(block, c, n);
        if (n < c->capacity && n % kChunk) continue;  // the slots of a chunk lie together
        const int64_t kept = c->iterations < c->capacity ? c->iterations : c->capacity;
        const int64_t count = n >= c->capacity ? 1 : (n + kChunk < kept ? kChunk : kept - n);
        for (int i = 0; i < kMatrices; ++i) product(block, c, i, n, count * c->method.stages);
        block.barrier();
        block.per_block(1, [=](int) { c->fresh[0] = 0; });
    }
    for (int i = 0; i < kMatrices && c->fresh[0]; ++i)  // no sample took a step
        block.for_all(matrix_of(c, i)->compressed ? matrix_of(c, i)->form->nnz : c->G * c->m,
                    [=](int k) { matrix_of(c, i)->grad[k] = T(0); });
    add_small(block, c);
    block.per_block(2, [=](int i) { c->fresh[i] = 0; });
}

// The gradients of the weights to `grad`, one pointer a tensor; 0 outside the masks. Ends with a barrier.
template <class B, class T, int K>
DASH_PHASE void give_gradients(B block, Context<T, K>* c, T* const* grad) {
    for (int i = 0; i < kMatrices; ++i) {
        T* to = grad[tensor_of(i)];
        block.for_all(matrix_of(c, i)->compressed ? matrix_of(c, i)->form->nnz : c->G * c->m, [=](int k) {
            const Matrix<T>* A = matrix_of(c, i);
            const bool active = A->compressed || A->active == nullptr || A->active[k];
            to[k] = active ? A->grad[k] : T(0);
        });
    }
    for (int branch = 0; branch < 2; ++branch) {
        T* to = grad[branch ? B_PRODS : B_SUMS];
        block.for_all(c->m, [=](int h) { to[h] = c->b_grad[branch][h]; });
    }
    T* to = grad[V];
    block.for_all_sync(c->G, [=](int g) { to[g] = c->v_grad[g]; });
}

}  // namespace gpu
}  // namespace dash
