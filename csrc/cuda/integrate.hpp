// Forward integration of the samples of K tiles, each with its own step size (mirrors csrc/cpu/integrate.hpp). The
// control of a sample is worked out by one thread of each block; all its threads read it after a barrier and before the
// next change.
#pragma once
#include "model.hpp"

namespace dash {
namespace gpu {

template <int n>
DASH_BLOCK bool any_todo(const Control<n>& control) {
    bool any = false;
    DASH_UNROLL for (int s = 0; s < n; ++s) any = any || control.todo[s];
    return any;
}

// state + sum of weights[j] * h * k_j of iteration n for the stages 0..count-1, without weights that are 0
template <class T, int K>
DASH_BLOCK Four<T> combine(const Context<T, K>* c, int64_t n, const T* weights, int count, const Four<T>& state,
                           int row) {
    const Four<T>& step = c->step[place_of<K>(row, c->genes).tile];
    Four<T> sum = state;
    DASH_UNROLL for (int j = 0; j < kMaxStages; ++j) {
        if (j >= count || weights[j] == T(0)) continue;
        const Four<T> k = derivative(c, n, j)[row];
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) sum.s[s] += (step.s[s] * weights[j]) * k.s[s];
    }
    return sum;
}

// The state of stage `stage` (method.stages: the new state) of iteration n, with its activations in the slot (at, slot).
template <class B, class T, int K>
DASH_PHASE void stage_state(B block, Context<T, K>* c, const Four<T>* y, int64_t n, int stage, int64_t at, int slot) {
    const T* weights = stage == c->method.stages ? c->method.b : c->method.a[stage];
    const Slot<T> to = slot_at(c, at, slot);
    block.for_all_sync(c->rows, [=](int row) {
        const Four<T> state = combine(c, n, weights, stage, y[row], row);
        c->stage[row] = state;
        activate(c, to, row, state);
    });
}

template <class B, class T, int K>
DASH_PHASE void first_steps(B block, Context<T, K>* c) {
    const Four<T>*y = c->y, *f = derivative(c, 0, 0), *probe = derivative(c, 0, 1);
    gene_sums<T>(block, c, 0, [=](int row) {
        Four<T> q{};
        if (place_of<K>(row, c->genes).at >= c->G) return q;  // padded genes rest at 1/2, which must not count
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) {
            const T x = y[row].s[s], scaled = x / (T(c->options.atol) + T(c->options.rtol) * std::fabs(x));
            q.s[s] = scaled * scaled;
        }
        return q;
    });
    block.per_block(c->kAll, [=](int s) { c->control.ratio[s] = gene_norm(c, 0, s); });
    gene_sums<T>(block, c, 1, [=](int row) {
        Four<T> q;
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) {
            const T scaled = f[row].s[s] / (T(c->options.atol) + T(c->options.rtol) * std::fabs(y[row].s[s]));
            q.s[s] = scaled * scaled;
        }
        return q;
    });
    block.per_block(c->kAll, [=](int s) {
        auto& control = c->control;
        control.d1[s] = gene_norm(c, 1, s);
        control.trial[s] = trial_step(control.ratio[s], control.d1[s], control.dt[s]);
        c->step[s / kSamples].s[s % kSamples] = T(control.trial[s]);
    });
    block.for_all_sync(c->rows, [=](int row) {
        const Four<T>& step = c->step[place_of<K>(row, c->genes).tile];
        Four<T> state = y[row];
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) state.s[s] += step.s[s] * f[row].s[s];
        c->stage[row] = state;
        activate(c, slot_at(c, 0, 1), row, state);
    });
    evaluate(block, c, c->stage, 0, 1, derivative(c, 0, 1));
    gene_sums<T>(block, c, 0, [=](int row) {
        Four<T> q;
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) {
            const T scale = T(c->options.atol) + T(c->options.rtol) * std::fabs(y[row].s[s]);
            const T scaled = (probe[row].s[s] - f[row].s[s]) / scale;
            q.s[s] = scaled * scaled;
        }
        return q;
    });
    block.per_block(c->kAll, [=](int s) {
        auto& control = c->control;
        if (!control.todo[s]) return;
        const double d2 = gene_norm(c, 0, s) / control.trial[s];
        control.h[s] = limited(first_step(control.trial[s], control.d1[s], d2, control.dt[s]), c->options.longest);
        control.evaluations[s] += 2;
    });
}

template <int n>
DASH_BLOCK void equal_steps(Control<n>& control, const SolveOptions& options, int s) {
    if (!control.todo[s]) return;
    const double steps = std::ceil(control.dt[s] / limited(options.step, options.longest) - 1e-9);
    control.limit[s] = steps < 1 ? 1 : static_cast<int64_t>(steps < 9e18 ? steps : 9e18);
    if (control.limit[s] > options.max_steps) control.status[s] = kMaxSteps, control.todo[s] = 0;
    control.h[s] = control.dt[s] / double(control.limit[s]);
}

// The scaled error of the step that was tried (adaptive), or 0 or NaN.
template <class B, class T, int K>
DASH_PHASE void step_error(B block, Context<T, K>* c, int64_t n) {
    const Four<T>*y = c->y, *y_new = c->stage;
    gene_sums<T>(block, c, 0, [=](int row) {
        Four<T> q;
        const Four<T> old = y[row], now = y_new[row];
        const Four<T>& step = c->step[place_of<K>(row, c->genes).tile];
        if (!c->method.adaptive) {
            DASH_UNROLL for (int s = 0; s < kSamples; ++s) q.s[s] = now.s[s] * T(0);
            return q;
        }
        Four<T> error{};
        DASH_UNROLL for (int j = 0; j < 7; ++j) {
            if (j == 1) continue;  // e[1] is 0
            const Four<T> k = derivative(c, n, j)[row];
            DASH_UNROLL for (int s = 0; s < kSamples; ++s) error.s[s] += c->method.e[j] * k.s[s];
        }
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) {
            const T a = std::fabs(old.s[s]), b = std::fabs(now.s[s]);
            const T scale = T(c->options.atol) + T(c->options.rtol) * (a > b ? a : b);
            const T scaled = error.s[s] * step.s[s] / scale;
            q.s[s] = scaled * scaled;
        }
        return q;
    });
}

// Why a sample's step became too short in iteration n.
template <class T, int K>
DASH_BLOCK int underflow(const Context<T, K>* c, int64_t n, int s) {
    const int first = s / kSamples * c->genes, at = s % kSamples;
    double state = 0, slope = 0;
    for (int g = 0; g < c->G; ++g) {
        const double y = std::fabs(double(c->y[first + g].s[at]));
        const double f = std::fabs(double(derivative(c, n, 0)[first + g].s[at]));
        state = y > state ? y : state;
        slope = f > slope ? f : slope;
    }
    return blows_up(state, slope, c->control.dt[s]) ? kBlowUp : kStepUnderflow;
}

// Decide on one sample's step of iteration n; `record`: and note its size.
template <class T, int K>
DASH_BLOCK void decide(Context<T, K>* c, int64_t n, int s, bool record) {
    auto& control = c->control;
    const bool adaptive = c->method.adaptive;
    const double ratio = gene_norm(c, 0, s), size = control.size[s];
    const bool finite = std::isfinite(ratio), idle = !control.todo[s];
    bool accepted = false;
    if (!idle) {
        accepted = ratio <= 1;
        control.evaluations[s] += adaptive ? 6 : c->method.stages;
        if (adaptive) control.h[s] = limited(size * step_factor(ratio), c->options.longest);
        if (accepted) {
            if (c->size_table && control.steps[s] < c->size_limit && record)
                c->size_table[s * c->size_limit + control.steps[s]] = size;
            control.t[s] = control.last[s] ? control.dt[s] : control.t[s] + size;
            ++control.steps[s];
            if (control.last[s]) control.todo[s] = 0;
            if (c->size_table && control.steps[s] > c->size_limit) control.status[s] = kTapeFull, control.todo[s] = 0;
        } else {
            ++control.rejected[s];
            if (!adaptive || control.h[s] <= control.dt[s] * 1e-12) {
                control.status[s] = finite ? underflow(c, n, s) : int(kNonFinite);
                control.todo[s] = 0;
            }
        }
        if (control.todo[s] && control.steps[s] + control.rejected[s] >= control.limit[s])
            control.status[s] = kMaxSteps, control.todo[s] = 0;
    }
    // a sample that is done took a step of 0, so the new state is its own; but it may have ended in infinities
    const bool take = accepted || (size == 0 && finite && control.status[s] == kSolved);
    control.keep[s] = take ? 0 : (finite ? 1 : 2);
    if (!accepted) c->step[s / kSamples].s[s % kSamples] = T(0);  // what the tape records
}

// Keep the step sizes and, beyond the slots, the state before the step; samples that accepted take the new state, the
// others keep theirs and their first stage. A step of 0 must not bring 0 * infinity into gradients.
template <class B, class T, int K>
DASH_PHASE void advance(B block, Context<T, K>* c, int64_t n) {
    const Slot<T> now = slot_at(c, n, 0), next = slot_at(c, n + 1, 0);
    const Four<T>* k = derivative(c, n, 0);
    Four<T>* k_next = derivative(c, n, c->method.stages);
    block.for_all(K, [=](int tile) {
        if (c->keep_tape) c->sizes[n * K + tile] = c->step[tile];
    });
    block.for_all(c->rows, [=](int row) {
        const int* keep = c->control.keep + place_of<K>(row, c->genes).tile * kSamples;
        const Four<T> old = c->y[row];
        if (c->keep_tape && n >= c->capacity) c->states[(n - c->capacity) * c->rows + row] = old;
        Four<T> state = c->stage[row];
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) {
            if (!keep[s]) continue;
            state.s[s] = old.s[s];
            next.sums[row].s[s] = now.sums[row].s[s];
            next.prods[row].s[s] = now.prods[row].s[s];
            next.derivative[row].s[s] = now.derivative[row].s[s];
            k_next[row].s[s] = k[row].s[s];
        }
        c->y[row] = state;
    });
    block.for_all_sync(c->units, [=](int unit) {
        const int* keep = c->control.keep + place_of<K>(unit, c->hidden).tile * kSamples;
        for (int s = 0; s < kSamples; ++s)
            if (keep[s]) {
                next.z[0][unit].s[s] = now.z[0][unit].s[s];
                next.z[1][unit].s[s] = now.z[1][unit].s[s];
            }
    });
    bool forget = false;
    DASH_UNROLL for (int s = 0; s < c->kAll; ++s) forget = forget || c->control.keep[s] == 2;
    if (!forget) return;
    for (int stage = 0; stage < c->method.stages; ++stage) {
        const Slot<T> slot = slot_at(c, n, stage);
        block.for_all(c->rows, [=](int row) {
            const int* keep = c->control.keep + place_of<K>(row, c->genes).tile * kSamples;
            for (int s = 0; s < kSamples; ++s)
                if (keep[s] == 2) slot.sums[row].s[s] = slot.prods[row].s[s] = slot.derivative[row].s[s] = T(0);
        });
        block.for_all(c->units, [=](int unit) {
            const int* keep = c->control.keep + place_of<K>(unit, c->hidden).tile * kSamples;
            for (int s = 0; s < kSamples; ++s)
                if (keep[s] == 2) slot.z[0][unit].s[s] = slot.z[1][unit].s[s] = T(0);
        });
    }
    block.barrier();
}

// Integrate the samples whose start states are in c->y and intervals in control.dt (0: none), to c->y and control.
// The caller has set y, dt, options and keep_tape before a barrier.
template <class B, class T, int K>
DASH_PHASE void integrate(B block, Context<T, K>* c) {
    gene_sums<T>(block, c, 1, [=](int row) {
        const bool gene = place_of<K>(row, c->genes).at < c->G;
        Four<T> q;
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) q.s[s] = gene ? c->y[row].s[s] * T(0) : T(0);
        return q;
    });
    block.per_block(c->kAll, [=](int s) {
        auto& control = c->control;
        control.t[s] = control.h[s] = control.trial[s] = 0;
        control.steps[s] = control.rejected[s] = control.evaluations[s] = 0;
        control.limit[s] = c->options.max_steps;
        const bool finite = gene_total(c, 1, s) == 0;
        control.status[s] = finite ? kSolved : kNonFinite;
        control.todo[s] = finite && control.dt[s] > 0;
        if (s == 0) c->iterations = 0;
    });
    if (!any_todo(c->control)) return;
    block.for_all_sync(c->rows, [=](int row) { activate(c, slot_at(c, 0, 0), row, c->y[row]); });
    evaluate(block, c, c->y, 0, 0, derivative(c, 0, 0));
    if (c->method.adaptive)
        first_steps(block, c);
    else
        block.per_block(c->kAll, [=](int s) { equal_steps(c->control, c->options, s); });
    const int stages = c->method.stages;
    const bool record = block.rank() == 0;
    for (int64_t n = 0;; ++n) {
        const bool full = c->keep_tape && n >= c->capacity + c->state_limit;
        block.per_block(c->kAll, [=](int s) {
            auto& control = c->control;
            if (full && control.todo[s]) control.status[s] = kTapeFull, control.todo[s] = 0;
            control.size[s] = 0;
            if (control.todo[s]) {
                const bool adaptive = c->method.adaptive;
                control.last[s] = adaptive ? control.t[s] + control.h[s] >= control.dt[s] * (1 - 1e-12)
                                           : control.steps[s] + 1 == control.limit[s];
                control.size[s] = adaptive && control.last[s] ? control.dt[s] - control.t[s] : control.h[s];
            }
            c->step[s / kSamples].s[s % kSamples] = T(control.size[s]);
        });
        if (!any_todo(c->control)) return;
        for (int i = 1; i < stages; ++i) {
            stage_state(block, c, c->y, n, i, n, i);
            evaluate(block, c, c->stage, n, i, derivative(c, n, i));
        }
        // the derivative at the new state: part of the error, and the first stage of the next step
        stage_state(block, c, c->y, n, stages, n + 1, 0);
        evaluate(block, c, c->stage, n + 1, 0, derivative(c, n, stages));
        step_error(block, c, n);
        block.per_block(c->kAll, [=](int s) {
            decide(c, n, s, record);
            if (s == 0 && c->keep_tape) c->iterations = n + 1;
        });
        advance(block, c, n);
    }
}

}  // namespace gpu
}  // namespace dash
