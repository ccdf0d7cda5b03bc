// train_epoch: for every batch of an epoch, solve, mean squared error, discrete adjoint and masked Adam, or instead of
// the last the gradients, given out (mirrors csrc/cpu/ops/batch.cpp, train_epoch.cpp and gradients.cpp). Weights stay in
// working memory from the first batch to the last.
#pragma once
#include "../../core/observed.hpp"
#include "../operator.hpp"
#include "../prior_loss.hpp"

namespace dash {
namespace gpu {

// The pairs of the current batch from c->first on.
template <class T>
struct Pairs {
    const int64_t* index;
    int64_t left;

    DASH_BLOCK const T* row(const T* of_pairs, int sample, int G) const {
        return sample < left ? of_pairs + index[sample] * G : nullptr;
    }
};
template <class T, int K>
DASH_BLOCK int64_t batch_size(const Context<T, K>* c) {
    const int64_t* begin = c->run->args.batch_ptr + c->outcome.next_batch;
    return begin[1] - begin[0];
}
// Observed end values of the current batch.
template <class T, int K>
DASH_BLOCK double batch_values(const Context<T, K>* c) {
    return double(c->run->observed[c->outcome.next_batch]);
}
template <class T, int K>
DASH_BLOCK Pairs<T> pairs_at_hand(const Context<T, K>* c) {
    const TrainArgs<T>& args = c->run->args;
    return {args.batch_index + args.batch_ptr[c->outcome.next_batch] + c->first, batch_size(c) - c->first};
}

// Start states and intervals of the batch's pairs from c->first on, as many as are integrated side by side.
template <class B, class T, int K>
DASH_PHASE void load_pairs(B block, Context<T, K>* c) {
    block.per_block(c->kAll, [=](int s) {
        const Pairs<T> pairs = pairs_at_hand(c);
        c->control.dt[s] = s < pairs.left ? c->run->args.objective.dt[pairs.index[s]] : 0;
    });
    block.for_all_sync(c->rows, [=](int row) {
        const Pairs<T> pairs = pairs_at_hand(c);
        const Place at = place_of<K>(row, c->genes);
        for (int s = 0; s < kSamples; ++s)
            c->y[row].s[s] = start_value(pairs.row(c->run->args.objective.y0, at.tile * kSamples + s, c->G), at.at, c->G);
    });
}

// Squared errors of the end states, added to c->loss, and their gradients, into c->bar.
template <class B, class T, int K>
DASH_PHASE void add_loss(B block, Context<T, K>* c) {
    gene_sums<double>(block, c, 0, [=](int row) {
        const TrainView<T>* run = c->run;
        const Pairs<T> pairs = pairs_at_hand(c);
        const Place at = place_of<K>(row, c->genes);
        const T scale = static_cast<T>(2.0 * run->args.objective.tau / batch_values(c));
        Four<double> q{};
        const Four<T> y = c->y[row];
        Four<T> bar{};
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) {
            const T* target = pairs.row(run->args.objective.y1, at.tile * kSamples + s, c->G);
            if (target == nullptr || at.at >= c->G) continue;
            const T miss = missed_by(y.s[s], target[at.at]);
            bar.s[s] = scale * miss;
            q.s[s] = double(miss) * double(miss);
        }
        c->bar[row] = bar;
        return q;
    });
    add_totals(block, c, &c->loss);
}

// The longest step with which the gradients of all pairs until now can be trusted. A phase of its own, for its registers.
template <class B, class T, int K>
DASH_PHASE void shorten(B block, Context<T, K>* c) {
    block.per_block(1, [=](int) {
        DASH_UNROLL_BY(1) for (int s = 0; s < c->kAll; ++s) {
            const double step = trusted_step(c->trust[s], c->method.adjoint);
            c->trusted = step < c->trusted ? step : c->trusted;
        }
    });
}

// Whether the batch has to be done again with shorter steps, which c->options then asks for.
template <class B, class T, int K>
DASH_PHASE bool try_again(B block, Context<T, K>* c) {
    block.per_block(1, [=](int) {
        c->again = std::isfinite(c->trusted);
        if (c->again) c->options.longest = c->trusted;
        if (c->again && ++c->tries == kTries) c->again = 0, c->outcome.status = kDoubtfulGradient;
    });
    return c->again;
}

// Forward and reverse of the pairs at hand. Returns whether all were solved.
template <class B, class T, int K>
DASH_PHASE bool train_tiles(B block, Context<T, K>* c) {
    load_pairs(block, c);
    integrate(block, c);
    block.per_block(1, [=](int) {
        Outcome& outcome = c->outcome;
        outcome.status = kSolved;  // samples that are not there are solved
        for (int s = 0; s < c->kAll; ++s) {
            outcome.status = c->control.status[s] > outcome.status ? c->control.status[s] : outcome.status;
            outcome.evaluations += c->control.evaluations[s];
        }
    });
    if (c->outcome.status != kSolved) return false;
    add_loss(block, c);
    sweep_back(block, c);
    shorten(block, c);
    return true;
}

// All pairs of the batch, with steps of at most c->options.longest. False when one was not solved.
template <class B, class T, int K>
DASH_PHASE bool train_pairs(B block, Context<T, K>* c) {
    block.per_block(1, [=](int) {
        c->first = 0;
        c->fresh[0] = c->fresh[1] = 1;
        c->loss = c->prior = 0;
        c->trusted = INFINITY;
    });
    for (; c->first < batch_size(c); block.per_block(1, [=](int) { c->first += c->kAll; }))
        if (!train_tiles(block, c)) return false;
    return true;
}

// One matrix's step; entries that are not active keep weight 0 and moments 0. No barrier.
template <class B, class T, int K>
DASH_PHASE void adam_matrix(B block, Context<T, K>* c, Matrix<T>* A, int tensor) {
    const T rate = static_cast<T>(c->run->args.lr[tensor] / c->correction1);
    T *moment1 = c->run->args.moment1[tensor], *moment2 = c->run->args.moment2[tensor];
    const int G = c->G, m = c->m, genes = c->genes;
    if (A->compressed) {
        block.for_all(A->form->nnz, [=](int k) {
            A->by_hidden[k] = adam_step(c->adam, rate, A->grad[k], A->by_hidden[k], moment1[k], moment2[k]);
        });
        return;
    }
    const bool by_gene = A->form->gene_step == 1;
    block.for_all(G * m, [=](int i) {
        const int h = by_gene ? i / G : i % m, g = by_gene ? i % G : i / m;
        if (A->active != nullptr && !A->active[i]) {
            moment1[i] = moment2[i] = T(0);
            return;
        }
        T& weight = panel(*A, h / kPanel, genes)[g].s[h % kPanel];
        weight = adam_step(c->adam, rate, A->grad[i], weight, moment1[i], moment2[i]);
    });
}

template <class B, class T, int K>
DASH_PHASE void adam(B block, Context<T, K>* c) {
    block.per_block(1, [=](int) {
        const TrainView<T>* run = c->run;
        const double step = double(++c->adam_step);
        c->correction1 = 1 - std::pow(run->args.beta1, step);
        c->adam = {T(run->args.beta1), T(run->args.beta2), T(1 - run->args.beta1), T(1 - run->args.beta2),
                   T(run->args.eps), T(1 / std::sqrt(1 - std::pow(run->args.beta2, step)))};
    });
    DASH_UNROLL for (int i = 0; i < kMatrices; ++i) adam_matrix(block, c, matrix_of(c, i), tensor_of(i));
    for (int branch = 0; branch < 2; ++branch)
        block.for_all(c->m, [=](int h) {
            const TrainView<T>* run = c->run;
            const int tensor = branch ? B_PRODS : B_SUMS;
            const T rate = static_cast<T>(run->args.lr[tensor] / c->correction1);
            c->b[branch][h] = adam_step(c->adam, rate, c->b_grad[branch][h], c->b[branch][h],
                                        run->args.moment1[tensor][h], run->args.moment2[tensor][h]);
        });
    block.for_all_sync(c->G, [=](int g) {
        const TrainView<T>* run = c->run;
        const T rate = static_cast<T>(run->args.lr[V] / c->correction1);
        const T v = adam_step(c->adam, rate, c->v_grad[g], c->v[g], run->args.moment1[V][g], run->args.moment2[V][g]);
        c->v[g] = v;
        c->rate[g] = v > T(0) ? v : T(0);
    });
    for (int i = 0; i < kMatrices; ++i) {
        if (!matrix_of(c, i)->compressed) continue;
        block.for_all(matrix_of(c, i)->form->nnz, [=](int k) {
            Matrix<T>* A = matrix_of(c, i);
            A->by_gene[k] = A->by_hidden[A->form->gene_from[k]];
        });
    }
    block.barrier();
}

// What follows the gradients of a batch: Adam's step, or their way to the caller. A phase of its own, for its registers.
template <class B, class T, int K>
DASH_PHASE void take_step(B block, Context<T, K>* c) {
    if (c->run->grad[V] == nullptr) return adam(block, c);
    give_gradients(block, c, c->run->grad);
    block.for_all(1, [=](int) { *c->run->prior = c->prior; });
}

// Set *c->bad when a gradient or the loss is not finite; it was cleared before. Ends with a barrier.
template <class B, class T, int K>
DASH_PHASE void check_finite(B block, Context<T, K>* c) {
    for (int i = 0; i < kMatrices; ++i)
        block.for_all(matrix_of(c, i)->compressed ? matrix_of(c, i)->form->nnz : c->G * c->m, [=](int k) {
            if (!std::isfinite(matrix_of(c, i)->grad[k])) *c->bad = 1;
        });
    for (int branch = 0; branch < 2; ++branch)
        block.for_all(c->m, [=](int h) {
            if (!std::isfinite(c->b_grad[branch][h])) *c->bad = 1;
        });
    block.for_all_sync(c->G, [=](int g) {
        if (!std::isfinite(c->v_grad[g]) || !std::isfinite(c->loss + c->prior)) *c->bad = 1;
    });
}

// One batch. False when it failed: the state is then that before the batch. Where a gradient is not to be trusted, the
// batch is done again with shorter steps.
template <class B, class T, int K>
DASH_PHASE bool train_batch(B block, Context<T, K>* c) {
    block.for_all_sync(1, [=](int) { *c->bad = 0; });
    block.per_block(1, [=](int) {
        c->evaluations = c->outcome.evaluations;
        c->options.longest = 0;
        c->tries = 0;
    });
    do {
        if (!train_pairs(block, c)) {
            block.per_block(1, [=](int) {  // a tape that is full is made larger, and the batch done again
                if (c->outcome.status == kTapeFull) c->outcome.evaluations = c->evaluations;
            });
            return false;
        }
    } while (try_again(block, c));
    if (c->outcome.status != kSolved) return false;
    block.per_block(1, [=](int) { c->loss /= batch_values(c); });
    if (c->run->args.objective.prior.points > 0) prior_loss(block, c);
    check_finite(block, c);
    if (*c->bad) {
        block.per_block(1, [=](int) { c->outcome.status = kNonFinite; });
        return false;
    }
    take_step(block, c);
    block.per_block(1, [=](int) {
        if (block.rank() == 0) c->run->args.loss[c->outcome.next_batch] = c->loss;
        ++c->outcome.next_batch;
    });
    return true;
}

// The batches from outcome->next_batch on. Stops before the step of a batch that fails; the state is then the last
// good one.
template <class B, class T, int K>
DASH_PHASE void train_epoch(B block, Context<T, K>* c, const TrainView<T>* run, const Memory& memory, char* shared,
                            char* global) {
    block.per_block(1, [=, &memory](int) {
        place(*c, run->args.params, run->form, run->method, kForTraining, memory.state_limit, shared,
              memory.shared_bytes, global);
        c->method = run->method;
        c->options = run->args.objective.options;
        c->keep_tape = 1;
        c->size_table = nullptr;
        c->run = run;
        c->outcome = *run->outcome;
        c->adam_step = run->outcome->step;
    });
    load_model(block, c, &run->args.params);
    while (c->outcome.next_batch < c->run->args.n_batches && train_batch(block, c)) continue;
    for (int i = 0; i < kMatrices; ++i) unload_matrix(block, c, matrix_of(c, i), c->run->args.weight[tensor_of(i)]);
    for (int branch = 0; branch < 2; ++branch)
        block.for_all(c->m, [=](int h) {
            c->run->args.weight[branch ? B_PRODS : B_SUMS][h] = c->b[branch][h];
        });
    block.for_all(1, [=](int) {
        c->outcome.step = c->adam_step;
        *c->run->outcome = c->outcome;
    });
    block.for_all_sync(c->G, [=](int g) { c->run->args.weight[V][g] = c->v[g]; });
}

template <class T>
struct TrainEpoch : OperatorOf<T> {
    typedef TrainView<T> Task;
    template <int K>
    using Kept = Context<T, K>;
    template <class B, int K>
    DASH_BLOCK static void run(B block, Context<T, K>* c, const Task* task, const Memory& memory, char* shared,
                               char* global) {
        train_epoch(block, c, task, memory, shared, global);
    }
};

}  // namespace gpu
}  // namespace dash
