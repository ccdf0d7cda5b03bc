// solve: integrate B samples, forward only.
#include "integrate.hpp"
#include "operators.hpp"

namespace dash {
namespace DASH_ISA {

template <class T, int L>
struct SolveTile {
    Tape<T, L> tape;
    Integrator<T, L> integrator;

    void run(const Model<T>& model, SolveArgs<T>& args, int64_t first, int n) {
        const int64_t G = model.G;
        const T* row[L];
        LaneResult result[L];
        for (int l = 0; l < n; ++l) row[l] = args.y0 + (first + l) * G;
        integrator.prepare(model, tape, false);
        load_tile<T, L>(row, n, G, integrator.y);
        integrator.run(n, args.dt + first, args.options, result,
                       [&](int lane, double size) { args.sink->push(first + lane, size); });
        for (int l = 0; l < n; ++l) {
            const int64_t s = first + l;
            for (int64_t g = 0; g < G; ++g) args.y1[s * G + g] = integrator.y[g * L + l];
            args.status[s] = result[l].status, args.steps[s] = result[l].steps;
            args.rejected[s] = result[l].rejected, args.evaluations[s] = result[l].evaluations;
        }
    }
};

template <class T>
static void solve_any(SolveArgs<T>& args) {
    Model<T> model;
    model.load(args.params, args.B);
    SolveTile<T, 4> narrow;
    SolveTile<T, 16> wide;
    for_tiles(args.B, model.prefers_narrow(), [&](auto lanes, int64_t first, int n) {
        if constexpr (decltype(lanes)::value == 4)
            narrow.run(model, args, first, n);
        else
            wide.run(model, args, first, n);
    });
}

void solve_f32(SolveArgs<float>& args) { solve_any(args); }
void solve_f64(SolveArgs<double>& args) { solve_any(args); }

}  // namespace DASH_ISA
}  // namespace dash
