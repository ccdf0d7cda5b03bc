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
DASH_PHASE void solve_tiles(B block, Context<T, K>* c, const SolveView<T>* task, const Memory& memory, char* shared,
                            char* global) {
    block.per_block(1, [=, &memory](int) {
        place(*c, task->args.params, *task->form, *task->method, kForSolve, 0, shared, memory.shared_bytes, global);
        c->method = *task->method;
        c->options = task->args.options;
        c->keep_tape = 0;
        c->size_table = task->sizes, c->size_limit = task->size_limit;
    });
    load_model(block, c, &task->args.params);
    block.per_block(c->kAll, [=](int s) { c->control.dt[s] = s < task->args.B ? task->args.dt[s] : 0; });
    block.for_all_sync(c->rows, [=](int row) {
        const Place at = place_of<K>(row, c->genes);
        DASH_UNROLL for (int s = 0; s < kSamples; ++s) {
            const int sample = at.tile * kSamples + s;
            c->y[row].s[s] =
                start_value(sample < task->args.B ? task->args.y0 + int64_t(sample) * c->G : nullptr, at.at, c->G);
        }
    });
    integrate(block, c);
    block.for_all(task->args.B, [=](int s) {
        const auto& control = c->control;
        task->args.status[s] = control.status[s], task->args.steps[s] = control.steps[s];
        task->args.rejected[s] = control.rejected[s], task->args.evaluations[s] = control.evaluations[s];
    });
    block.for_all_sync(c->rows, [=](int row) {
        const Place at = place_of<K>(row, c->genes);
        for (int s = 0; s < kSamples; ++s) {
            const int sample = at.tile * kSamples + s;
            if (sample < task->args.B && at.at < c->G) task->args.y1[int64_t(sample) * c->G + at.at] = c->y[row].s[s];
        }
    });
}

template <class T>
struct Solve : OperatorOf<T> {
    typedef SolveView<T> Task;
    template <int K>
    using Kept = Context<T, K>;
    template <class B, int K>
    DASH_BLOCK static void run(B block, Context<T, K>* c, const Task* task, const Memory& memory, char* shared,
                               char* global) {
        solve_tiles(block, c, task, memory, shared, global);
    }
};

}  // namespace gpu
}  // namespace dash
