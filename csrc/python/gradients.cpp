// gradients and adam_step: the two halves of a training step, for those who do something in between.
#include "../cpu/dispatch.hpp"
#include "calls.hpp"
#include "interrupt.hpp"
#include "operators.hpp"

namespace py = pybind11;
using namespace pybind11::literals;
using namespace dash::arguments;

namespace {

template <class T>
py::tuple gradients_as(const Given& given, const GivenObjective& objective, const py::object& index,
                       const py::object& widest, dash::StopToken* stop) {
    return guarded("gradients", [&](dash::Extent& extent) {
        Arrays arrays;
        extent = {given.sizes.G, given.sizes.m, length_of(index, "index")};
        GradientCall<T> call(arrays, given, objective, index);
        call.args.widest = integer(widest, "widest", call.args.B, INT32_MAX);
        dash::Interruptible watch(stop);
        call.args.watch = &watch;
        {
            py::gil_scoped_release release;
            dash::run(call.args);
        }
        return call.results();
    });
}

// (loss of the data, of the prior, gradients by name, evaluations, status)
py::tuple gradients(const py::object& weights, const py::object& masks, const py::object& y0, const py::object& y1,
                    const py::object& dt, const py::object& index, const py::object& widest, const py::object& tau,
                    const py::object& prior, const py::object& method, const py::object& rtol, const py::object& atol,
                    const py::object& step, const py::object& max_steps, dash::StopToken* stop) {
    const GivenObjective objective{y0, y1, dt, tau, prior, options_of(method, rtol, atol, step, max_steps)};
    const Given given = given_of(weights, masks);
    return given.single ? gradients_as<float>(given, objective, index, widest, stop)
                        : gradients_as<double>(given, objective, index, widest, stop);
}

template <class T>
void take_arrays(Arrays& arrays, const py::tuple& parts, const Shape& shape, const std::string& name,
                 dash::AdamTensor& tensor) {
    tensor.value = arrays.write<T>(parts[0], shape, name);
    tensor.moment1 = arrays.write<T>(parts[1], shape, "moment1 of " + name);
    tensor.moment2 = arrays.write<T>(parts[2], shape, "moment2 of " + name);
    tensor.grad = arrays.write<T>(parts[3], shape, "gradient of " + name);
}

dash::AdamTensor adam_tensor(Arrays& arrays, const py::handle& item, const std::string& name) {
    const py::tuple parts = tuple_of(item, 7, name, "value, moment1, moment2, gradient, mask, lr, step");
    dash::AdamTensor tensor{};
    const py::array value = array_of(parts[0], name);
    const Shape shape = shape_of(value);
    tensor.size = value.size();
    tensor.single = py::isinstance<py::array_t<float>>(value);
    tensor.single ? take_arrays<float>(arrays, parts, shape, name, tensor)
                  : take_arrays<double>(arrays, parts, shape, name, tensor);
    if (!parts[4].is_none())
        tensor.mask = reinterpret_cast<const uint8_t*>(arrays.read<bool>(parts[4], shape, "mask of " + name));
    tensor.lr = number(parts[5], "lr of " + name, 0);
    tensor.step = integer(parts[6], "step of " + name, 1, int64_t(1) << 53);
    return tensor;
}

// False when a gradient is not finite; nothing was changed then.
bool adam_step(const py::object& given, const py::object& beta1, const py::object& beta2, const py::object& eps) {
    return guarded("adam_step", [&](dash::Extent& extent) {
        Arrays arrays;
        std::vector<dash::AdamTensor> tensors;
        for (const auto& item : list_of(given, "tensors")) {
            tensors.push_back(adam_tensor(arrays, item, "tensor " + std::to_string(tensors.size())));
            extent.samples += tensors.back().size;
        }
        arrays.settle();
        dash::AdamArgs args{};
        args.tensors = tensors.data(), args.count = static_cast<int64_t>(tensors.size());
        args.beta1 = number(beta1, "beta1", 0, kBelowOne), args.beta2 = number(beta2, "beta2", 0, kBelowOne);
        args.eps = number(eps, "eps", 0, HUGE_VAL, false);
        py::gil_scoped_release release;
        dash::run(args);
        return args.finite;
    });
}

const dash::Bind bind([](py::module_& module) {
    module.def("gradients", &gradients, "weights"_a, "masks"_a, "y0"_a, "y1"_a, "dt"_a, "index"_a, "widest"_a, "tau"_a,
               "prior"_a, py::kw_only(), "method"_a, "rtol"_a, "atol"_a, "step"_a, "max_steps"_a, "stop"_a = py::none());
    module.def("adam_step", &adam_step, "tensors"_a, "beta1"_a, "beta2"_a, "eps"_a);
});

}  // namespace
