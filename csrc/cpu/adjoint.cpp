// solve_backward: take recorded steps again, then sweep back through them.
#include "adjoint.hpp"
#include "operators.hpp"

namespace dash {
namespace DASH_ISA {

// Advance a tile by given steps, recording the states (the forward half of solve_backward).
template <class T, int L>
class Replay {
  public:
    void run(const Model<T>& model, const AdjointArgs<T>& args, int64_t first, int n, Tape<T, L>& tape) {
        typedef vec<T, L> V;
        const Tableau& method = tableau(args.method);
        const int64_t G = model.G;
        T* p = memory_.reserve((10 * G + 2 * model.m) * L);
        auto take = [&p](int64_t size) { T* at = p; p += size * L; return at; };
        T *y = take(G), *stage = take(G), *k[6];
        for (auto& derivative : k) derivative = take(G);
        const Trace<T> trace = {take(G), take(G), take(model.m), take(model.m)};
        const T* row[L];
        for (int l = 0; l < n; ++l) row[l] = args.y0 + (first + l) * G;
        load_tile<T, L>(row, n, G, y);
        tape.clear();
        for (int64_t column = 0; column < args.n; ++column) {
            V h = {};
            bool any = false;
            for (int l = 0; l < n; ++l) {
                const double size = args.sizes[(first + l) * args.n + column];
                if (size == 0) continue;
                any = true;
                h[l] = static_cast<T>(size);
                tape.push(l, y, size, G);
            }
            if (!any) return;
            if (column + 1 == args.n) return;  // the end state itself is not needed
            for (int i = 0; i < method.stages; ++i) {
                combine<T, L>(y, method.a[i], i, h, k, stage, G);
                model.template rhs<L>(stage, k[i], trace);
            }
            combine<T, L>(y, method.b, method.stages, h, k, y, G);
        }
    }

  private:
    Buffer<T> memory_;
};

template <class T>
static void adjoint_any(AdjointArgs<T>& args) {
    const int64_t G = args.params.G;
    Model<T> model;
    model.load(args.params, true);
    Gradients<T> grads;
    grads.clear(model);
    for_tiles<T>(args.B, [&](auto width, int64_t first, int n) {
        constexpr int L = decltype(width)::value;
        Replay<T, L> replay;
        Tape<T, L> tape;
        ReverseSweep<T, L> sweep;
        replay.run(model, args, first, n, tape);
        sweep.prepare(model);
        for (int l = 0; l < L; ++l)
            for (int64_t g = 0; g < G; ++g) sweep.bar[g * L + l] = l < n ? args.grad_y1[(first + l) * G + g] : T(0);
        sweep.run(tape, args.method, grads);
        for (int l = 0; l < n; ++l)
            for (int64_t g = 0; g < G; ++g) args.grad_y0[(first + l) * G + g] = sweep.bar[g * L + l];
    });
    for (int k = 0; k < 2; ++k) {
        model.W[k].unload(grads.W[k].data(), args.grad[k ? W_PRODS : W_SUMS]);
        model.U[k].unload(grads.U[k].data(), args.grad[k ? U_PRODS : U_SUMS]);
        std::memcpy(args.grad[k ? B_PRODS : B_SUMS], grads.b[k].data(), model.m * sizeof(T));
    }
    std::memcpy(args.grad[V], grads.v.data(), G * sizeof(T));
}

void adjoint_f32(AdjointArgs<float>& args) { adjoint_any(args); }
void adjoint_f64(AdjointArgs<double>& args) { adjoint_any(args); }

}  // namespace DASH_ISA
}  // namespace dash
