// solve and solve_backward.
#include "../cpu/dispatch.hpp"
#include "interrupt.hpp"
#include "model.hpp"
#include "operators.hpp"

namespace py = pybind11;
using namespace pybind11::literals;
using namespace dash::arguments;
using dash::Extent;

namespace {

class Steps : public dash::StepSink {
  public:
    explicit Steps(int64_t B) : sizes_(B) {}
    void push(int64_t sample, double size) override {
        std::vector<double>& row = sizes_[sample];
        if (row.size() == row.capacity()) make_room(row);
        row.push_back(size);
    }
    py::array_t<double> table() const {
        size_t width = 0;
        for (const auto& row : sizes_) width = std::max(width, row.size());
        py::array_t<double> out({sizes_.size(), width});
        double* p = out.mutable_data();
        std::fill(p, p + out.size(), 0.0);
        for (size_t b = 0; b < sizes_.size(); ++b) std::copy(sizes_[b].begin(), sizes_[b].end(), p + b * width);
        return out;
    }

  private:
    static void make_room(std::vector<double>& row) {
        const size_t room = std::max<size_t>(16, 2 * row.capacity());
        try {
            row.reserve(room);
        } catch (const std::bad_alloc&) {
            throw dash::OutOfMemory{static_cast<int64_t>(room * sizeof(double))};
        }
    }

    std::vector<std::vector<double>> sizes_;
};

template <class T>
py::tuple solve_as(const Given& given, const py::object& y0, const py::object& dt, const dash::SolveOptions& options,
                   dash::StopToken* stop) {
    return guarded("solve", [&](Extent& extent) {
        Arrays arrays;
        const auto params = params_of<T>(arrays, given);
        const int64_t B = length_of(dt, "dt");
        extent = {params.G, params.m, B};
        dash::SolveArgs<T> args{};
        args.params = params, args.options = options, args.B = B;
        args.y0 = arrays.read<T>(y0, {B, params.G}, "y0");
        args.dt = arrays.read<double>(dt, {B}, "dt");
        check_intervals(args.dt, B);
        py::array_t<T> y1({B, params.G});
        py::array_t<int64_t> status(B), steps(B), rejected(B), evaluations(B);
        Steps sink(B);
        dash::Interruptible watch(stop);
        args.y1 = y1.mutable_data(), args.status = status.mutable_data(), args.steps = steps.mutable_data();
        args.rejected = rejected.mutable_data(), args.evaluations = evaluations.mutable_data();
        args.sink = &sink, args.watch = &watch;
        {
            py::gil_scoped_release release;
            dash::run(args);
        }
        return py::make_tuple(y1, status, steps, rejected, evaluations, sink.table());
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
        dash::AdjointArgs<T> args{};
        args.params = params_of<T>(arrays, given);
        const int64_t G = args.params.G, B = length_of(sizes, "step_sizes", 0, 2);
        extent = {G, args.params.m, B};
        args.method = method, args.B = B, args.n = length_of(sizes, "step_sizes", 1, 2);
        args.y0 = arrays.read<T>(y0, {B, G}, "y0");
        args.sizes = arrays.read<double>(sizes, {B, args.n}, "step_sizes");
        args.grad_y1 = arrays.read<T>(grad, {B, G}, "grad");
        check_step_sizes(args.sizes, B, args.n);
        std::vector<uint8_t> all;  // every entry gets its gradient, also those that are 0
        py::dict grads;
        py::array_t<T> grad_y0({B, G});
        py::array_t<double> longest(B);
        args.grad_y0 = grad_y0.mutable_data(), args.longest = longest.mutable_data();
        for (int i = 0; i < dash::N_TENSORS; ++i) {
            const Form form = form_of(arrays, given, i);
            py::array_t<T> out(std::vector<py::ssize_t>(form.shape.begin(), form.shape.end()));
            if (prunable(i)) resize(all, std::max<size_t>(all.size(), out.size()), uint8_t(1));
            args.grad[i] = out.mutable_data();
            grads[kNames[i]] = out;
        }
        for (int i = 0; i < dash::N_TENSORS; ++i)
            if (prunable(i)) args.params.mask[i] = all.data();
        dash::Interruptible watch(stop);
        args.watch = &watch;
        {
            py::gil_scoped_release release;
            dash::run(args);
        }
        return py::make_tuple(grad_y0, grads, longest);
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
