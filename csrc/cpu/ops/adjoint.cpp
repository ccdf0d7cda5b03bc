// solve_backward: take recorded steps again, then sweep back through them.
#include "../adjoint.hpp"
#include "../operators.hpp"

namespace dash {
namespace DASH_ISA {

template <class T, int L>
struct AdjointTile {
    Tape<T, L> tape;
    ReverseSweep<T, L> sweep;
    Buffer<T> memory;

    void run(const Model<T>& model, AdjointArgs<T>& args, const int64_t* sample, int n, Gradients<T>& grads) {
        const int64_t G = model.G;
        replay(model, args, sample, n);
        sweep.prepare(model);
        for (int l = 0; l < n; ++l)
            for (int64_t g = 0; g < G; ++g) sweep.bar[g * L + l] = args.grad_y1[sample[l] * G + g];
        sweep.run(tape, args.method, grads);
        for (int l = 0; l < n; ++l) {
            for (int64_t g = 0; g < G; ++g) args.grad_y0[sample[l] * G + g] = sweep.bar[g * L + l];
            args.longest[sample[l]] = trusted_step(sweep.trust[l], tableau(args.method).adjoint);
        }
    }

    // Advance the tile by the recorded steps and fill the tape.
    void replay(const Model<T>& model, const AdjointArgs<T>& args, const int64_t* sample, int n) {
        const Tableau& method = tableau(args.method);
        const int64_t rows = padded(model.G), tile = rows * L;
        tape.prepare(rows, padded(model.m), true);
        T* p = memory.zeros(4 * tile);
        T *y = p, *stage = p + tile, *rates = p + 2 * tile, *scratch = p + 3 * tile;
        model.template rate_tile<L>(rates);
        const T* row[L];
        for (int l = 0; l < n; ++l) row[l] = args.y0 + sample[l] * model.G;
        load_tile<T, L>(row, n, model.G, y);
        for (int64_t column = 0; column < args.n; ++column) {
            T size[L] = {};
            bool any = false;
            for (int l = 0; l < n; ++l) {
                size[l] = static_cast<T>(args.sizes[sample[l] * args.n + column]);
                any = any || size[l] != T(0);
            }
            if (!any) return;  // step sizes are padded with 0 at the end
            const PerSample<T, L> h(size);
            model.template rhs<L>(y, rates, tape.slot(column, 0), scratch);
            for (int i = 1; i < method.stages; ++i)
                evaluate_stage<T, L>(model, method, i, h, tape, column, y, stage, rates, scratch);
            tape.record(column, size, y);
            Terms<T, L> terms;
            for (int i = 0; i < method.stages; ++i) terms.add(h, method.b[i], tape.slot(column, i).derivative());
            combine<T, L>(y, terms.coefficient, terms.k, terms.n, y, rows);
        }
    }
};

template <class T>
static void adjoint_any(AdjointArgs<T>& args) {
    Model<T> model;
    model.load(args.params, args.B, args.watch);
    Gradients<T> grads;
    grads.clear(model);
    AdjointTile<T, 4> narrow;
    AdjointTile<T, 16> wide;
    Buffer<int64_t> samples;
    Buffer<double> steps;
    samples.reserve(args.B), steps.zeros(args.B);
    for (int64_t s = 0; s < args.B; ++s) {
        samples[s] = s;
        for (int64_t k = 0; k < args.n; ++k) steps[s] += args.sizes[s * args.n + k] != 0;
    }
    for_tiles(samples.data(), args.B, steps.data(), model.tiles(),
              [&](auto lanes, const int64_t* sample, int n) {
                  if constexpr (decltype(lanes)::value == 4)
                      narrow.run(model, args, sample, n, grads);
                  else
                      wide.run(model, args, sample, n, grads);
              });
    for (int i = 0; i < N_TENSORS; ++i) model.unload(i, grads.of(i), args.grad[i]);
}

DASH_OPERATOR(AdjointArgs, adjoint_any)

}  // namespace DASH_ISA
}  // namespace dash
