// solve: integrate B samples, forward only.
#include "../integrate.hpp"
#include "../operators.hpp"

namespace dash {
namespace DASH_ISA {

template <class T, int L>
struct SolveTile {
    Tape<T, L> tape;
    Integrator<T, L> integrator;

    void run(const Model<T>& model, SolveArgs<T>& args, const int64_t* sample, int n) {
        const int64_t G = model.G;
        const T* row[L];
        double dt[L] = {};
        LaneResult result[L];
        for (int l = 0; l < n; ++l) row[l] = args.y0 + sample[l] * G, dt[l] = args.dt[sample[l]];
        integrator.prepare(model, tape, false);
        load_tile<T, L>(row, n, G, integrator.y);
        integrator.run(n, dt, args.options, result,
                       [&](int lane, double size) { args.sink->push(sample[lane], size); });
        for (int l = 0; l < n; ++l) {
            const int64_t s = sample[l];
            for (int64_t g = 0; g < G; ++g) args.y1[s * G + g] = integrator.y[g * L + l];
            args.status[s] = result[l].status, args.steps[s] = result[l].steps;
            args.rejected[s] = result[l].rejected, args.evaluations[s] = result[l].evaluations;
        }
    }
};

template <class T>
static void solve_any(SolveArgs<T>& args) {
    Model<T> model;
    model.load(args.params, args.B, args.watch);
    SolveTile<T, 4> narrow;
    SolveTile<T, 16> wide;
    Buffer<int64_t> samples;
    samples.reserve(args.B);
    for (int64_t s = 0; s < args.B; ++s) samples[s] = s;
    for_tiles(samples.data(), args.B, args.dt, model.tiles(), [&](auto lanes, const int64_t* sample, int n) {
        if constexpr (decltype(lanes)::value == 4)
            narrow.run(model, args, sample, n);
        else
            wide.run(model, args, sample, n);
    });
}

DASH_OPERATOR(SolveArgs, solve_any)

}  // namespace DASH_ISA
}  // namespace dash
