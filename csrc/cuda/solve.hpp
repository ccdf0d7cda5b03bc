// solve and solve_backward: tiles of up to four samples, or by a block all samples of a gradient.
#pragma once
#include "adjoint.hpp"

namespace dash {
namespace gpu {

template <class B, class T, int K>
DASH_PHASE void solve_tiles(B block, Context<T, K>* c, const SolveView<T>* job, const Memory& memory, char* near,
                            char* far) {
    block.own(1, [=, &memory](int) {
        place(*c, *job->model, *job->method, kForSolve, 0, near, memory.shared_bytes, far);
        c->method = *job->method;
        c->options = job->options;
        c->keep_tape = 0;
        c->size_table = job->sizes, c->size_limit = job->size_limit;
    });
    load_model(block, c, job->model);
    block.own(c->kAll, [=](int s) { c->control.dt[s] = s < job->n ? job->dt[s] : 0; });
    block.each(c->rows, [=](int row) {
        const Place at = place_of<K>(row, c->genes);
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) {
            const int sample = at.tile * kSamples + s;
            c->y[row].s[s] =
                start_value(sample < job->n ? job->y0 + int64_t(sample) * c->G : nullptr, at.at, c->G);
        }
    });
    integrate(block, c);
    block.apart(job->n, [=](int s) {
        const auto& control = c->control;
        job->status[s] = control.status[s], job->steps[s] = control.steps[s];
        job->rejected[s] = control.rejected[s], job->evaluations[s] = control.evaluations[s];
    });
    block.each(c->rows, [=](int row) {
        const Place at = place_of<K>(row, c->genes);
        for (int s = 0; s < kSamples; ++s) {
            const int sample = at.tile * kSamples + s;
            if (sample < job->n && at.at < c->G) job->y1[int64_t(sample) * c->G + at.at] = c->y[row].s[s];
        }
    });
}

// Take the recorded steps of four samples again and fill the tape.
template <class B, class T>
DASH_PHASE void replay(B block, Context<T, 1>* c, const AdjointView<T>* job, int64_t sample, int n) {
    const int stages = c->method.stages;
    block.apart(1, [=](int) { c->iterations = 0; });
    block.each(c->genes, [=](int g) {
        for (int s = 0; s < kSamples; ++s)
            c->y[g].s[s] = start_value(s < n ? job->y0 + (sample + s) * c->G : nullptr, g, c->G);
    });
    for (int64_t column = 0; column < job->n; ++column) {
        block.each(1, [=](int) {
            for (int s = 0; s < kSamples; ++s)
                c->step[0].s[s] = s < n ? T(job->sizes[(sample + s) * job->n + column]) : T(0);
            c->sizes[column] = c->step[0];
        });
        const Four<T> h = c->step[0];
        if (h.s[0] == T(0) && h.s[1] == T(0) && h.s[2] == T(0) && h.s[3] == T(0)) return;  // padded at the end
        block.apart(1, [=](int) { c->iterations = column + 1; });
        block.each(c->genes, [=](int g) {
            const Four<T> y = c->y[g];
            if (column >= c->capacity) c->states[(column - c->capacity) * c->genes + g] = y;
            activate(c, slot_at(c, column, 0), g, y);
        });
        evaluate(block, c, c->y, column, 0, derivative(c, column, 0));
        for (int i = 1; i < stages; ++i) {
            stage_state(block, c, c->y, column, i, column, i);
            evaluate(block, c, c->stage, column, i, derivative(c, column, i));
        }
        block.each(c->genes, [=](int g) { c->y[g] = combine(c, column, c->method.b, stages, c->y[g], g); });
    }
}

template <class B, class T>
DASH_PHASE void backward(B block, Context<T, 1>* c, const AdjointView<T>* job, const Memory& memory, char* near,
                         char* far) {
    block.each(1, [=](int) {
        place(*c, job->model, job->method, kForTraining, memory.state_limit, near, memory.shared_bytes, far);
        c->method = job->method;
        c->fresh[0] = c->fresh[1] = 1;
    });
    load_model(block, c, &job->model);
    for (int64_t sample = 0; sample < job->B; sample += kSamples) {
        const int n = job->B - sample < kSamples ? static_cast<int>(job->B - sample) : kSamples;
        replay(block, c, job, sample, n);
        block.each(c->genes, [=](int g) {
            for (int s = 0; s < kSamples; ++s)
                c->bar[g].s[s] = s < n && g < c->G ? job->grad_y1[(sample + s) * c->G + g] : T(0);
        });
        sweep_back(block, c);
        block.each(c->G, [=](int g) {
            for (int s = 0; s < n; ++s) job->grad_y0[(sample + s) * c->G + g] = c->bar[g].s[s];
        });
        block.each(n, [=](int s) { job->longest[sample + s] = trusted_step(c->trust[s], c->method.adjoint); });
    }
    give_gradients(block, c, job->grad);
}

}  // namespace gpu
}  // namespace dash
