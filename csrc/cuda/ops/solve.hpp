// solve: tiles of up to four samples.
#pragma once
#include "../integrate.hpp"
#include "../operator.hpp"

namespace dash {
namespace gpu {

// A tile of up to four samples of one model, in a team of all that it integrates side by side: `args` has its part of the
// arrays, with the device's pointers.
template <class T>
struct SolveView {
    SolveArgs<T> args;
    const ModelForm* form;
    const Method<T>* method;
    double* sizes;       // [B, size_limit], accepted step sizes
    int64_t size_limit;
};

template <class B, class T, int K>
DASH_PHASE void solve_tiles(B block, Context<T, K>* c, const SolveView<T>* job, const Memory& memory, char* near,
                            char* far) {
    block.own(1, [=, &memory](int) {
        place(*c, job->args.params, *job->form, *job->method, kForSolve, 0, near, memory.shared_bytes, far);
        c->method = *job->method;
        c->options = job->args.options;
        c->keep_tape = 0;
        c->size_table = job->sizes, c->size_limit = job->size_limit;
    });
    load_model(block, c, &job->args.params);
    block.own(c->kAll, [=](int s) { c->control.dt[s] = s < job->args.B ? job->args.dt[s] : 0; });
    block.each(c->rows, [=](int row) {
        const Place at = place_of<K>(row, c->genes);
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) {
            const int sample = at.tile * kSamples + s;
            c->y[row].s[s] =
                start_value(sample < job->args.B ? job->args.y0 + int64_t(sample) * c->G : nullptr, at.at, c->G);
        }
    });
    integrate(block, c);
    block.apart(job->args.B, [=](int s) {
        const auto& control = c->control;
        job->args.status[s] = control.status[s], job->args.steps[s] = control.steps[s];
        job->args.rejected[s] = control.rejected[s], job->args.evaluations[s] = control.evaluations[s];
    });
    block.each(c->rows, [=](int row) {
        const Place at = place_of<K>(row, c->genes);
        for (int s = 0; s < kSamples; ++s) {
            const int sample = at.tile * kSamples + s;
            if (sample < job->args.B && at.at < c->G) job->args.y1[int64_t(sample) * c->G + at.at] = c->y[row].s[s];
        }
    });
}

template <class T>
struct Solve : OperatorOf<T> {
    typedef SolveView<T> Job;
    template <int K>
    using Kept = Context<T, K>;
    template <class B, int K>
    DASH_BLOCK static void run(B block, Context<T, K>* c, const Job* job, const Memory& memory, char* near, char* far) {
        solve_tiles(block, c, job, memory, near, far);
    }
};

}  // namespace gpu
}  // namespace dash
