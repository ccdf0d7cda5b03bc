// solve: integrate B samples, forward only.
#include "integrate.hpp"
#include "operators.hpp"

namespace dash {
namespace DASH_ISA {

template <class T>
static void solve_any(SolveArgs<T>& args) {
    const int64_t G = args.params.G;
    Model<T> model;
    model.load(args.params, false);
    Integrator<T, 4> narrow;
    Integrator<T, 8> middle;
    Integrator<T, 16> wide;
    auto run = [&](auto& integrator, auto width, int64_t first, int n) {
        constexpr int L = decltype(width)::value;
        const T* row[L];
        LaneResult result[L];
        for (int l = 0; l < n; ++l) row[l] = args.y0 + (first + l) * G;
        integrator.prepare(model);
        load_tile<T, L>(row, n, G, integrator.y);
        integrator.run(n, args.dt + first, args.options, result,
                       [&](int lane, const T*, double size) { args.sink->push(first + lane, size); });
        for (int l = 0; l < n; ++l) {
            const int64_t s = first + l;
            for (int64_t g = 0; g < G; ++g) args.y1[s * G + g] = integrator.y[g * L + l];
            args.status[s] = result[l].status, args.steps[s] = result[l].steps;
            args.rejected[s] = result[l].rejected, args.evaluations[s] = result[l].evaluations;
        }
    };
    for_tiles<T>(args.B, [&](auto width, int64_t first, int n) {
        if constexpr (decltype(width)::value == 4)
            run(narrow, width, first, n);
        else if constexpr (decltype(width)::value == 8)
            run(middle, width, first, n);
        else
            run(wide, width, first, n);
    });
}

void solve_f32(SolveArgs<float>& args) { solve_any(args); }
void solve_f64(SolveArgs<double>& args) { solve_any(args); }

}  // namespace DASH_ISA
}  // namespace dash
