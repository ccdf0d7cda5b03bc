// train_epoch.
#include "../cpu/dispatch.hpp"
#include "interrupt.hpp"
#include "model.hpp"
#include "operators.hpp"

namespace py = pybind11;
using namespace pybind11::literals;
using namespace dash::arguments;
using dash::Extent;

namespace {

// What train_epoch takes beside the weights, as the caller gives it.
struct Epoch {
    py::dict moment1, moment2;
    py::object step, y0, y1, dt, batch_ptr, batch_index, losses, lr, beta1, beta2, eps, tau, prior;
    dash::SolveOptions options;
};

template <class T>
py::tuple train_as(const Given& given, const Epoch& epoch, dash::StopToken* stop) {
    return guarded("train_epoch", [&](Extent& extent) {
        Arrays arrays;
        dash::TrainArgs<T> args{};
        const int64_t G = given.sizes.G;
        args.G = G, args.m = given.sizes.m;
        args.step = integer(epoch.step, "adam_step", 0, int64_t(1) << 53);
        const auto lr = numbers<dash::N_TENSORS>(epoch.lr, "lr", 0);
        for (int i = 0; i < dash::N_TENSORS; ++i) {
            const std::string name = kNames[i];
            const Form form = form_of(arrays, given, i);
            args.structure[i] = form.structure;
            args.weight[i] = arrays.write<T>(form.values, form.shape, name);
            args.moment1[i] = arrays.write<T>(member(epoch.moment1, name), form.shape, "moment1 of " + name);
            args.moment2[i] = arrays.write<T>(member(epoch.moment2, name), form.shape, "moment2 of " + name);
            args.mask[i] = mask_of(arrays, given, i, form.shape);
            args.lr[i] = lr[i];
            if (prunable(i) && !args.mask[i]) throw dash::ArgumentError("mask of " + name + " is missing");
        }
        const int64_t N = length_of(epoch.dt, "dt");
        extent = {G, args.m, N};
        const Batches batches = batches_of(arrays, epoch.batch_ptr, epoch.batch_index, N);
        args.n_batches = batches.count, args.batch_ptr = batches.ptr, args.batch_index = batches.index;
        args.objective = objective_of<T>(arrays, {epoch.y0, epoch.y1, epoch.dt, epoch.tau, epoch.prior, epoch.options}, G);
        args.beta1 = number(epoch.beta1, "beta1", 0, kBelowOne), args.beta2 = number(epoch.beta2, "beta2", 0, kBelowOne);
        args.eps = number(epoch.eps, "eps", 0, HUGE_VAL, false);
        args.loss = arrays.write<double>(epoch.losses, {args.n_batches}, "losses");
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
    const Epoch epoch{dictionary(moment1, "moment1"), dictionary(moment2, "moment2"), step, y0, y1, dt, batch_ptr,
                      batch_index, losses, lr, beta1, beta2, eps, tau, prior,
                      options_of(method, rtol, atol, rk4_step, max_steps)};
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
