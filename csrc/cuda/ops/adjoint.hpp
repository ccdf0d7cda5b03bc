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
DASH_PHASE void replay(B block, Context<T, 1>* c, const AdjointView<T>* job, int64_t sample, int n) {
    const int stages = c->method.stages;
    block.apart(1, [=](int) { c->iterations = 0; });
    block.each(c->genes, [=](int g) {
        for (int s = 0; s < kSamples; ++s)
            c->y[g].s[s] = start_value(s < n ? job->args.y0 + (sample + s) * c->G : nullptr, g, c->G);
    });
    for (int64_t column = 0; column < job->args.n; ++column) {
        block.each(1, [=](int) {
            for (int s = 0; s < kSamples; ++s)
                c->step[0].s[s] = s < n ? T(job->args.sizes[(sample + s) * job->args.n + column]) : T(0);
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
        place(*c, job->args.params, job->form, job->method, kForTraining, memory.state_limit, near, memory.shared_bytes, far);
        c->method = job->method;
        c->fresh[0] = c->fresh[1] = 1;
    });
    load_model(block, c, &job->args.params);
    for (int64_t sample = 0; sample < job->args.B; sample += kSamples) {
        const int n = job->args.B - sample < kSamples ? static_cast<int>(job->args.B - sample) : kSamples;
        replay(block, c, job, sample, n);
        block.each(c->genes, [=](int g) {
            for (int s = 0; s < kSamples; ++s)
                c->bar[g].s[s] = s < n && g < c->G ? job->args.grad_y1[(sample + s) * c->G + g] : T(0);
        });
        sweep_back(block, c);
        block.each(c->G, [=](int g) {
            for (int s = 0; s < n; ++s) job->args.grad_y0[(sample + s) * c->G + g] = c->bar[g].s[s];
        });
        block.each(n, [=](int s) { job->args.longest[sample + s] = trusted_step(c->trust[s], c->method.adjoint); });
    }
    give_gradients(block, c, job->args.grad);
}

template <class T>
struct Adjoint : OperatorOf<T> {
    typedef AdjointView<T> Job;
    template <int K>
    using Kept = Context<T, K>;
    template <class B>
    DASH_BLOCK static void run(B block, Context<T, 1>* c, const Job* job, const Memory& memory, char* near, char* far) {
        backward(block, c, job, memory, near, far);
    }
};

}  // namespace gpu
}  // namespace dash
