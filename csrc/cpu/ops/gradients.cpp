// gradients: loss and gradients of one batch, for whoever makes the step himself.
#include "../batch.hpp"
#include "../operators.hpp"

namespace dash {
namespace DASH_ISA {

template <class T>
static void batch_gradients(GradientArgs<T>& args, Workspace<T>& workspace) {
    Batch<T> batch(args.objective, args.params, args.widest, args.watch, workspace);
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

// A thread's workspace, kept for its next batch: of a small model it is larger than all that a batch changes.
template <class T>
class Kept {
  public:
    Kept() = default;
    Kept(const Kept&) = delete;
    Kept& operator=(const Kept&) = delete;
    ~Kept() { delete workspace_; }

    Workspace<T>& of_shape(int64_t G, int64_t m) {
        if (G != G_ || m != m_) release();
        if (!workspace_) workspace_ = new Workspace<T>;
        G_ = G, m_ = m;
        return *workspace_;
    }
    // After a batch: one that failed leaves numbers that are not finite.
    void settle(bool solved) {
        if (!solved || workspace_->bytes() > kMostBytes) release();
    }
    void release() {
        delete workspace_;
        workspace_ = nullptr;
    }

  private:
    static constexpr int64_t kMostBytes = int64_t(32) << 20;
    int64_t G_ = 0, m_ = 0;
    Workspace<T>* workspace_ = nullptr;
};

template <class T>
static void gradients_any(GradientArgs<T>& args) {
    static thread_local Kept<T> kept;
    try {
        batch_gradients(args, kept.of_shape(args.params.G, args.params.m));
    } catch (...) {  // out of memory, or stopped half-way
        kept.release();
        throw;
    }
    kept.settle(args.status == kSolved);
}

DASH_OPERATOR(GradientArgs, gradients_any)

}  // namespace DASH_ISA
}  // namespace dash
