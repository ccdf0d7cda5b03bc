// adam_step: one step of Adam on arrays with given gradients, bit for bit that of train_epoch.
#include "../adam.hpp"
#include "../operators.hpp"

namespace dash {
namespace DASH_ISA {

template <class T>
static bool finite(const AdamTensor& t) {
    return all_finite(static_cast<const T*>(t.grad), t.size);
}

// A mask that takes nothing away is none.
static const uint8_t* mask_of(const AdamTensor& t) {
    return t.mask && std::memchr(t.mask, 0, t.size) ? t.mask : nullptr;
}

template <class T>
static void step(const AdamArgs& args, const AdamTensor& t) {
    AdamStep<T>(args.beta1, args.beta2, args.eps, t.step)
        .run(t.lr, t.size, static_cast<T*>(t.value), static_cast<T*>(t.moment1), static_cast<T*>(t.moment2),
             static_cast<T*>(t.grad), mask_of(t));
}

static void adam_step(AdamArgs& args) {
    args.finite = true;
    for (int64_t i = 0; i < args.count && args.finite; ++i)
        args.finite = args.tensors[i].single ? finite<float>(args.tensors[i]) : finite<double>(args.tensors[i]);
    for (int64_t i = 0; i < args.count && args.finite; ++i)
        args.tensors[i].single ? step<float>(args, args.tensors[i]) : step<double>(args, args.tensors[i]);
}

DASH_OPERATOR_OF(AdamArgs, adam_step)

}  // namespace DASH_ISA
}  // namespace dash
