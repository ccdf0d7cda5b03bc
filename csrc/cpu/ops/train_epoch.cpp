// train_epoch: solve, mean squared error, discrete adjoint and masked Adam for every batch of an epoch.
#include "../adam.hpp"
#include "../batch.hpp"
#include "../operators.hpp"

namespace dash {
namespace DASH_ISA {

template <class T>
static int64_t widest(const TrainArgs<T>& args) {
    int64_t found = 0;
    for (int64_t k = 0; k < args.n_batches; ++k) {
        const int64_t size = args.batch_ptr[k + 1] - args.batch_ptr[k];
        found = size > found ? size : found;
    }
    return found;
}

template <class T>
static void train_any(TrainArgs<T>& args) {
    Workspace<T> workspace;
    Batch<T> batch(args.objective, args.params, widest(args), args.watch, workspace);
    Model<T>& model = batch.model;
    Buffer<T> moment1[N_TENSORS], moment2[N_TENSORS];
    for (int i = 0; i < N_TENSORS; ++i) {
        moment1[i].reserve(model.count(i)), moment2[i].reserve(model.count(i));
        model.pack(i, args.moment1[i], moment1[i].data());
        model.pack(i, args.moment2[i], moment2[i].data());
    }
    for (int64_t k = 0; k < args.n_batches; ++k) {
        batch.run(args.batch_index + args.batch_ptr[k], args.batch_ptr[k + 1] - args.batch_ptr[k]);
        if (batch.status != kSolved) break;
        args.loss[k] = batch.loss;
        const AdamStep<T> step(args.beta1, args.beta2, args.eps, ++args.step);
        for (int i = 0; i < N_TENSORS; ++i)
            step.run(args.lr[i], model.count(i), model.values(i), moment1[i].data(), moment2[i].data(), batch.grads.of(i),
                     model.active(i));
        model.refresh();
    }
    args.evaluations = batch.evaluations;
    args.status = batch.status;
    for (int i = 0; i < N_TENSORS; ++i) {
        model.unload(i, model.values(i), args.weight[i]);
        model.unload(i, moment1[i].data(), args.moment1[i]);
        model.unload(i, moment2[i].data(), args.moment2[i]);
    }
}

DASH_OPERATOR(TrainArgs, train_any)

}  // namespace DASH_ISA
}  // namespace dash
