// gradients: loss and gradients of one batch, for whoever makes the step himself.
#include "batch.hpp"
#include "operators.hpp"

namespace dash {
namespace DASH_ISA {

template <class T>
static void gradients_any(GradientArgs<T>& args) {
    Batch<T> batch(args.objective, args.params, args.widest, args.watch);
    batch.run(args.index, args.B);
    args.loss = batch.loss, args.prior = batch.prior;
    args.evaluations = batch.evaluations, args.status = batch.status;
    if (batch.status != kSolved) batch.grads.clear(batch.model);
    for (int i = 0; i < N_TENSORS; ++i) {
        T* g = batch.grads.of(i);
        if (const uint8_t* active = batch.model.active(i))
            for (int64_t k = 0; k < batch.model.count(i); ++k) g[k] = active[k] ? g[k] : T(0);
        batch.model.unload(i, g, args.grad[i]);
    }
}

void gradients_f32(GradientArgs<float>& args) { gradients_any(args); }
void gradients_f64(GradientArgs<double>& args) { gradients_any(args); }

}  // namespace DASH_ISA
}  // namespace dash
