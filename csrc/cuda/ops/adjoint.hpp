// solve_backward: the gradients of all samples of a model, four at a time.
#pragma once
#include "../adjoint.hpp"
#include "../operator.hpp"

namespace dash {
namespace gpu {

// The gradient of one model's end states; the pointers of the arguments are the device's.
template <class T>
struct AdjointView {
    AdjointArgs<T> args;
    ModelForm form;
    Method<T> method;
};

// Take the recorded steps of four samples again and fill the tape.
template <class B, class T>
DASH_PHASE void replay(B block, Context<T, 1>* c, const AdjointView<T>* task, int64_t sample, int n) {
    const int stages = c->method.stages;
    block.for_all(1, [=](int) { c->iterations = 0; });
    block.for_all_sync(c->genes, [=](int g) {
        for (int s = 0; s < kSamples; ++s)
            c->y[g].s[s] = start_value(s < n ? task->args.y0 + (sample + s) * c->G : nullptr, g, c->G);
    });
    for (int64_t column = 0; column < task->args.n; ++column) {
        block.for_all_sync(1, [=](int) {
            for (int s = 0; s < kSamples; ++s)
                c->step[0].s[s] = s < n ? T(task->args.sizes[(sample + s) * task->args.n + column]) : T(0);
            c->sizes[column] = c->step[0];
        });
        const Four<T> h = c->step[0];
        if (h.s[0] == T(0) && h.s[1] == T(0) && h.s[2] == T(0) && h.s[3] == T(0)) return;  // padded at the end
        block.for_all(1, [=](int) { c->iterations = column + 1; });
        block.for_all_sync(c->genes, [=](int g) {
            const Four<T> y = c->y[g];
            if (column >= c->capacity) c->states[(column - c->capacity) * c->genes + g] = y;
            activate(c, slot_at(c, column, 0), g, y);
        });
        evaluate(block, c, c->y, column, 0, derivative(c, column, 0));
        for (int i = 1; i < stages; ++i) {
            stage_state(block, c, c->y, column, i, column, i);
            evaluate(block, c, c->stage, column, i, derivative(c, column, i));
        }
        block.for_all_sync(c->genes, [=](int g) { c->y[g] = combine(c, column, c->method.b, stages, c->y[g], g); });
    }
}

template <class B, class T>
DASH_PHASE void backward(B block, Context<T, 1>* c, const AdjointView<T>* task, const Memory& memory, char* shared,
                         char* global) {
    block.for_all_sync(1, [=](int) {
        place(*c, task->args.params, task->form, task->method, kForTraining, memory.state_limit, shared,
              memory.shared_bytes, global);
        c->method = task->method;
        c->fresh[0] = c->fresh[1] = 1;
    });
    load_model(block, c, &task->args.params);
    for (int64_t sample = 0; sample < task->args.B; sample += kSamples) {
        const int n = task->args.B - sample < kSamples ? static_cast<int>(task->args.B - sample) : kSamples;
        replay(block, c, task, sample, n);
        block.for_all_sync(c->genes, [=](int g) {
            for (int s = 0; s < kSamples; ++s)
                c->bar[g].s[s] = s < n && g < c->G ? task->args.grad_y1[(sample + s) * c->G + g] : T(0);
        });
        sweep_back(block, c);
        block.for_all_sync(c->G, [=](int g) {
            for (int s = 0; s < n; ++s) task->args.grad_y0[(sample + s) * c->G + g] = c->bar[g].s[s];
        });
        block.for_all_sync(n, [=](int s) {
            task->args.longest[sample + s] = trusted_step(c->trust[s], c->method.adjoint);
        });
    }
    give_gradients(block, c, task->args.grad);
}

template <class T>
struct Adjoint : OperatorOf<T> {
    typedef AdjointView<T> Task;
    template <int K>
    using Kept = Context<T, K>;
    template <class B>
    DASH_BLOCK static void run(B block, Context<T, 1>* c, const Task* task, const Memory& memory, char* shared,
                               char* global) {
        backward(block, c, task, memory, shared, global);
    }
};

}  // namespace gpu
}  // namespace dash
