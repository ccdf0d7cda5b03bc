// train_epoch of a block: for every batch of an epoch, solve, mean squared error, discrete adjoint and masked Adam
// (mirrors csrc/cpu/train_epoch.cpp). Weights stay in the block's memory from the first batch to the last.
#pragma once
#include "prior_loss.hpp"

namespace dash {
namespace gpu {

// Pairs of a batch from `first` on that make up a tile.
template <class T>
DASH_BLOCK int tile_size(const TrainView<T>* run, int batch, int first) {
    const int64_t left = run->batch_ptr[batch + 1] - run->batch_ptr[batch] - first;
    return left < kSamples ? static_cast<int>(left) : kSamples;
}

// Forward and reverse of the pairs first..first + 3 of a batch; adds their squared errors to c->loss. Returns whether
// all were solved.
template <class B, class T>
DASH_PHASE bool train_tile(B block, Context<T>* c, int batch, int first) {
    block.apart(kSamples, [=](int s) {
        const TrainView<T>* run = c->run;
        const int64_t* index = run->batch_index + run->batch_ptr[batch] + first;
        c->control.dt[s] = s < tile_size(run, batch, first) ? run->dt[index[s]] : 0;
    });
    block.each(c->genes, [=](int g) {
        const TrainView<T>* run = c->run;
        const int64_t* index = run->batch_index + run->batch_ptr[batch] + first;
        const int n = tile_size(run, batch, first);
        for (int s = 0; s < kSamples; ++s)
            c->y[g].s[s] = start_value(s < n ? run->y0 + index[s] * c->G : nullptr, g, c->G);
    });
    integrate(block, c);
    block.each(1, [=](int) {
        Outcome* outcome = c->run->outcome;
        int64_t worst = kSolved;  // samples that are not there are solved
        for (int s = 0; s < kSamples; ++s) {
            worst = c->control.status[s] > worst ? c->control.status[s] : worst;
            outcome->evaluations += c->control.evaluations[s];
        }
        outcome->status = worst;
    });
    if (c->run->outcome->status != kSolved) return false;
    gene_sums<double>(block, c, [=](int g) {
        const TrainView<T>* run = c->run;
        const int64_t* index = run->batch_index + run->batch_ptr[batch] + first;
        const int64_t pairs = run->batch_ptr[batch + 1] - run->batch_ptr[batch];
        const int n = tile_size(run, batch, first);
        const T scale = static_cast<T>(2.0 * run->tau / (double(pairs) * c->G));
        Four<double> q{};
        const Four<T> y = c->y[g];
        Four<T> bar{};
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) {
            if (s >= n || g >= c->G) continue;
            const T miss = y.s[s] - run->y1[index[s] * c->G + g];
            bar.s[s] = scale * miss;
            q.s[s] = double(miss) * double(miss);
        }
        c->bar[g] = bar;
        return q;
    });
    block.each(1, [=](int) {
        for (int s = 0; s < kSamples; ++s) c->loss += gene_total(c, s);
    });
    sweep_back(block, c, first == 0);
    return true;
}

// One matrix's step; entries that are not active keep weight 0 and moments 0. No barrier.
template <class B, class T>
DASH_PHASE void adam_matrix(B block, Context<T>* c, Matrix<T>* A, int tensor) {
    const T rate = static_cast<T>(c->run->lr[tensor] / c->correction1);
    const int G = c->G, m = c->m, genes = c->genes;
    if (A->compressed) {
        block.apart(A->view->nnz, [=](int k) {
            const MatrixView<T>& v = *A->view;
            A->by_hidden[k] = adam_step(c->adam, rate, A->grad[k], A->by_hidden[k], v.moment1[k], v.moment2[k]);
        });
        return;
    }
    const bool by_gene = A->view->gene_step == 1;
    block.apart(G * m, [=](int i) {
        const MatrixView<T>& v = *A->view;
        const int h = by_gene ? i / G : i % m, g = by_gene ? i % G : i / m;
        if (v.active != nullptr && !v.active[i]) {
            v.moment1[i] = v.moment2[i] = T(0);
            return;
        }
        T& weight = panel(*A, h / kPanel, genes)[g].s[h % kPanel];
        weight = adam_step(c->adam, rate, A->grad[i], weight, v.moment1[i], v.moment2[i]);
    });
}

template <class B, class T>
DASH_PHASE void adam(B block, Context<T>* c) {
    block.each(1, [=](int) {
        const TrainView<T>* run = c->run;
        const double step = double(++c->adam_step);
        c->correction1 = 1 - std::pow(run->beta1, step);
        c->adam = {T(run->beta1), T(run->beta2), T(1 - run->beta1), T(1 - run->beta2), T(run->eps),
                   T(1 / std::sqrt(1 - std::pow(run->beta2, step)))};
    });
    constexpr int order[4] = {W_SUMS, W_PRODS, U_SUMS, U_PRODS};
    DASH_UNROLL for (int i = 0; i < 4; ++i) adam_matrix(block, c, matrix_of(c, i), order[i]);
    for (int branch = 0; branch < 2; ++branch)
        block.apart(c->m, [=](int h) {
            const TrainView<T>* run = c->run;
            const T rate = static_cast<T>(run->lr[branch ? B_PRODS : B_SUMS] / c->correction1);
            c->b[branch][h] = adam_step(c->adam, rate, c->b_grad[branch][h], c->b[branch][h],
                                        run->b_moment1[branch][h], run->b_moment2[branch][h]);
        });
    block.each(c->G, [=](int g) {
        const TrainView<T>* run = c->run;
        const T rate = static_cast<T>(run->lr[V] / c->correction1);
        const T v = adam_step(c->adam, rate, c->v_grad[g], c->v[g], run->v_moment1[g], run->v_moment2[g]);
        c->v[g] = v;
        c->rate[g] = v > T(0) ? v : T(0);
    });
    for (int i = 0; i < 4; ++i) {
        if (!matrix_of(c, i)->compressed) continue;
        block.apart(matrix_of(c, i)->view->nnz, [=](int k) {
            Matrix<T>* A = matrix_of(c, i);
            A->by_gene[k] = A->by_hidden[A->view->gene_from[k]];
        });
    }
    block.barrier();
}

// Set control.bad when a gradient or the loss is not finite; it was cleared before. Ends with a barrier.
template <class B, class T>
DASH_PHASE void check_finite(B block, Context<T>* c) {
    for (int i = 0; i < 4; ++i)
        block.apart(matrix_of(c, i)->compressed ? matrix_of(c, i)->view->nnz : c->G * c->m, [=](int k) {
            if (!std::isfinite(matrix_of(c, i)->grad[k])) c->control.bad = 1;
        });
    for (int branch = 0; branch < 2; ++branch)
        block.apart(c->m, [=](int h) {
            if (!std::isfinite(c->b_grad[branch][h])) c->control.bad = 1;
        });
    block.each(c->G, [=](int g) {
        if (!std::isfinite(c->v_grad[g]) || !std::isfinite(c->loss + c->prior)) c->control.bad = 1;
    });
}

// One batch. False when it failed: the state is then that before the batch.
template <class B, class T>
DASH_BLOCK bool train_batch(B block, Context<T>* c, int batch) {
    block.each(1, [=](int) {
        c->evaluations = c->run->outcome->evaluations;
        c->loss = c->prior = 0;
        c->control.bad = 0;
    });
    for (int first = 0; first < c->run->batch_ptr[batch + 1] - c->run->batch_ptr[batch]; first += kSamples) {
        if (train_tile(block, c, batch, first)) continue;
        block.each(1, [=](int) {  // a tape that is full is made larger, and the batch done again
            if (c->run->outcome->status == kTapeFull) c->run->outcome->evaluations = c->evaluations;
        });
        return false;
    }
    block.each(1, [=](int) {
        const TrainView<T>* run = c->run;
        c->loss /= double(run->batch_ptr[batch + 1] - run->batch_ptr[batch]) * c->G;
    });
    if (c->run->prior.points > 0) prior_loss(block, c);
    check_finite(block, c);
    if (c->control.bad) {
        block.each(1, [=](int) { c->run->outcome->status = kNonFinite; });
        return false;
    }
    adam(block, c);
    block.each(1, [=](int) {
        c->run->loss[batch] = c->loss;
        c->run->outcome->next_batch = batch + 1;
    });
    return true;
}

// The batches from outcome->next_batch on. Stops before the step of a batch that fails; the state is then the last
// good one.
template <class B, class T>
DASH_BLOCK void train_epoch(B block, Context<T>* c, const TrainView<T>* run, const Memory& memory, char* near,
                            char* far) {
    block.each(1, [=, &memory](int) {
        place(*c, run->model, run->method, kForTraining, memory.state_limit, near, memory.shared_bytes, far);
        c->method = run->method;
        c->options = run->options;
        c->keep_tape = 1;
        c->size_table = nullptr;
        c->run = run;
        c->adam_step = run->outcome->step;
    });
    load_model(block, c, &run->model);
    for (int k = static_cast<int>(c->run->outcome->next_batch); k < c->run->n_batches && train_batch(block, c, k);) ++k;
    for (int i = 0; i < 4; ++i) unload_matrix(block, c, matrix_of(c, i));
    for (int branch = 0; branch < 2; ++branch)
        block.apart(c->m, [=](int h) { c->run->model.b[branch][h] = c->b[branch][h]; });
    block.apart(1, [=](int) { c->run->outcome->step = c->adam_step; });
    block.each(c->G, [=](int g) { c->run->model.v[g] = c->v[g]; });
}

}  // namespace gpu
}  // namespace dash
