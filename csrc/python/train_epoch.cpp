// train_epoch.
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
py::tuple train_as(const Given& given, const GivenEpoch& epoch, dash::StopToken* stop) {
    return guarded("train_epoch", [&](Extent& extent) {
        Arrays arrays;
        extent = {given.sizes.G, given.sizes.m, length_of(epoch.objective.dt, "dt")};
        dash::TrainArgs<T> args = train_args<T>(arrays, given, epoch);
        arrays.settle();
        dash::Interruptible watch(stop);
        args.watch = &watch;
        {
            py::gil_scoped_release release;
            dash::run(args);
        }
        return py::make_tuple(args.step, args.evaluations, args.status);
    });
}

py::tuple train_epoch(const py::object& weights, const py::object& moment1, const py::object& moment2,
                      const py::object& masks, const py::object& step, const py::object& y0, const py::object& y1,
                      const py::object& dt, const py::object& batch_ptr, const py::object& batch_index,
                      const py::object& losses, const py::object& lr, const py::object& beta1, const py::object& beta2,
                      const py::object& eps, const py::object& tau, const py::object& prior, const py::object& method,
                      const py::object& rtol, const py::object& atol, const py::object& rk4_step,
                      const py::object& max_steps, dash::StopToken* stop) {
    const GivenEpoch epoch{moment1, moment2, step, batch_ptr, batch_index, losses, lr, beta1, beta2, eps,
                           {y0, y1, dt, tau, prior, options_of(method, rtol, atol, rk4_step, max_steps)}};
    const Given given = given_of(weights, masks);
    return given.single ? train_as<float>(given, epoch, stop)
                        : train_as<double>(given, epoch, stop);
}

const dash::Bind bind([](py::module_& module) {
    module.def("train_epoch", &train_epoch, "weights"_a, "moment1"_a, "moment2"_a, "masks"_a, "adam_step"_a, "y0"_a,
               "y1"_a, "dt"_a, "batch_ptr"_a, "batch_index"_a, "losses"_a, "lr"_a, "beta1"_a, "beta2"_a, "eps"_a,
               "tau"_a, "prior"_a, py::kw_only(), "method"_a, "rtol"_a, "atol"_a, "step"_a, "max_steps"_a,
               "stop"_a = py::none());
});

}  // namespace
