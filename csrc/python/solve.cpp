// solve and solve_backward.
#include "../cpu/dispatch.hpp"
#include "calls.hpp"
#include "interrupt.hpp"
#include "operators.hpp"

namespace py = pybind11;
using namespace pybind11::literals;
using namespace dash::arguments;
using dash::Extent;

namespace {

template <class T>
py::tuple solve_as(const Given& given, const py::object& y0, const py::object& dt, const dash::SolveOptions& options,
                   dash::StopToken* stop) {
    return guarded("solve", [&](Extent& extent) {
        Arrays arrays;
        extent = {given.sizes.G, given.sizes.m, length_of(dt, "dt")};
        SolveCall<T> call(arrays, given, y0, dt, options);
        dash::Interruptible watch(stop);
        call.args.watch = &watch;
        {
            py::gil_scoped_release release;
            dash::run(call.args);
        }
        return call.results();
    });
}

py::tuple solve(const py::object& weights, const py::object& masks, const py::object& y0, const py::object& dt,
                const py::object& method, const py::object& rtol, const py::object& atol, const py::object& step,
                const py::object& max_steps, dash::StopToken* stop) {
    const dash::SolveOptions options = options_of(method, rtol, atol, step, max_steps);
    const Given given = given_of(weights, masks);
    return given.single ? solve_as<float>(given, y0, dt, options, stop)
                        : solve_as<double>(given, y0, dt, options, stop);
}

template <class T>
py::tuple backward_as(const Given& given, const py::object& y0, const py::object& sizes, const py::object& grad,
                      int method, dash::StopToken* stop) {
    return guarded("solve_backward", [&](Extent& extent) {
        Arrays arrays;
        extent = {given.sizes.G, given.sizes.m, length_of(sizes, "step_sizes", 0, 2)};
        AdjointCall<T> call(arrays, given, y0, sizes, grad, method);
        dash::Interruptible watch(stop);
        call.args.watch = &watch;
        {
            py::gil_scoped_release release;
            dash::run(call.args);
        }
        return call.results();
    });
}

py::tuple solve_backward(const py::object& weights, const py::object& y0, const py::object& sizes,
                         const py::object& grad, const py::object& method, dash::StopToken* stop) {
    const int number = method_number(method);
    const Given given = given_of(weights, py::dict());
    return given.single ? backward_as<float>(given, y0, sizes, grad, number, stop)
                        : backward_as<double>(given, y0, sizes, grad, number, stop);
}

const dash::Bind bind([](py::module_& module) {
    const auto stop = "stop"_a = py::none();
    module.def("solve", &solve, "weights"_a, "masks"_a, "y0"_a, "dt"_a, py::kw_only(), "method"_a, "rtol"_a, "atol"_a,
               "step"_a, "max_steps"_a, stop);
    module.def("solve_backward", &solve_backward, "weights"_a, "y0"_a, "step_sizes"_a, "grad"_a, "method"_a, stop);
});

}  // namespace
