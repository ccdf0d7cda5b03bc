// dash_hpc._native: NumPy arrays in, NumPy arrays out. Everything is checked here, whatever the Python side has checked:
// what the operators get is safe to read and to write.
#include <pybind11/stl.h>

#include "../cpu/dispatch.hpp"
#include "../cpu/select.hpp"
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
                   dash::StopToken* stop, void (*run)(dash::SolveArgs<T>&)) {
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
            run(args);
        }
        return py::make_tuple(y1, status, steps, rejected, evaluations, sink.table());
    });
}

py::tuple solve(const py::object& weights, const py::object& masks, const py::object& y0, const py::object& dt,
                const py::object& method, const py::object& rtol, const py::object& atol, const py::object& step,
                const py::object& max_steps, dash::StopToken* stop) {
    const dash::SolveOptions options = options_of(method, rtol, atol, step, max_steps);
    const dash::Operators& ops = dash::operators();
    const Given given = given_of(weights, masks);
    return given.single ? solve_as<float>(given, y0, dt, options, stop, ops.solve_f32)
                        : solve_as<double>(given, y0, dt, options, stop, ops.solve_f64);
}

template <class T>
py::tuple backward_as(const Given& given, const py::object& y0, const py::object& sizes, const py::object& grad,
                      int method, dash::StopToken* stop, void (*run)(dash::AdjointArgs<T>&)) {
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
            run(args);
        }
        return py::make_tuple(grad_y0, grads, longest);
    });
}

py::tuple solve_backward(const py::object& weights, const py::object& y0, const py::object& sizes,
                         const py::object& grad, const py::object& method, dash::StopToken* stop) {
    const int number = method_number(method);
    const dash::Operators& ops = dash::operators();
    const Given given = given_of(weights, py::dict());
    return given.single ? backward_as<float>(given, y0, sizes, grad, number, stop, ops.adjoint_f32)
                        : backward_as<double>(given, y0, sizes, grad, number, stop, ops.adjoint_f64);
}

// What train_epoch takes beside the weights, as the caller gives it.
struct Epoch {
    py::dict moment1, moment2;
    py::object step, y0, y1, dt, batch_ptr, batch_index, losses, lr, beta1, beta2, eps, tau, prior;
    dash::SolveOptions options;
};

template <class T>
py::tuple train_as(const Given& given, const Epoch& epoch, dash::StopToken* stop, void (*run)(dash::TrainArgs<T>&)) {
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
            run(args);
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
    const dash::Operators& ops = dash::operators();
    const Given given = given_of(weights, masks);
    return given.single ? train_as<float>(given, epoch, stop, ops.train_f32)
                        : train_as<double>(given, epoch, stop, ops.train_f64);
}

struct Sparse {
    Csr<int64_t> csr;
    const double* value;
};

Sparse sparse_of(Arrays& arrays, const py::object& object, int64_t rows, int64_t columns, const std::string& name) {
    const py::tuple parts = tuple_of(object, 3, name, "row pointers, columns, values");
    const Csr<int64_t> csr = csr_of<int64_t>(arrays, parts[0], parts[1], rows, columns, false, name);
    return {csr, arrays.read<double>(parts[2], {csr.entries}, name + " values")};
}

// (first or None, second or None, condition, rho, True), or None when Cholesky is not safe
py::tuple prior_terms(const py::object& S, const py::object& C, const py::object& P, const py::object& ridge,
                      dash::StopToken* stop) {
    return guarded("prior_terms", [&](Extent& extent) {
        Arrays arrays;
        dash::PriorTermsArgs args{};
        args.m = length_of(S, "S", 0, 2), args.G = length_of(S, "S", 1, 2);
        check_model(args.G, args.m);
        args.S = arrays.read<double>(S, {args.m, args.G}, "S");
        args.ridge = number(ridge, "ridge", 0);
        py::object first = py::none(), second = py::none();
        if (!C.is_none()) {
            const Sparse c = sparse_of(arrays, C, args.G, args.G, "C");
            args.c_ptr = c.csr.ptr, args.c_index = c.csr.index, args.c_value = c.value;
            py::array_t<double> out({args.m, args.G});
            args.first = out.mutable_data();
            first = out;
        }
        if (!P.is_none()) {
            const Sparse p = sparse_of(arrays, P, kAny, args.G, "P");
            args.targets = p.csr.rows;
            args.p_ptr = p.csr.ptr, args.p_index = p.csr.index, args.p_value = p.value;
            py::array_t<double> out({args.targets, args.m});
            args.second = out.mutable_data();
            second = out;
        }
        extent = {args.G, args.m, args.targets};
        dash::Interruptible watch(stop);
        args.watch = &watch;
        {
            py::gil_scoped_release release;
            dash::operators().prior_terms(args);
        }
        if (!args.ok) first = second = py::none(), args.rho = 0;
        return py::tuple(py::make_tuple(first, second, args.condition, args.rho, args.ok));
    });
}

py::tuple select_entries(const py::object& score, const py::object& mask, const py::object& n) {
    return guarded("select", [&](Extent& extent) {
        Arrays arrays;
        const Shape shape = shape_of(array_of(mask, "mask"));
        const bool* active = arrays.read<bool>(mask, shape, "mask");
        const double* scores = arrays.read<double>(score, shape, "score");
        py::array_t<bool> out(std::vector<py::ssize_t>(shape.begin(), shape.end()));
        const int64_t size = out.size();
        extent.samples = size;
        std::copy(active, active + size, out.mutable_data());
        int64_t count = 0;
        for (int64_t i = 0; i < size; ++i) {
            count += active[i];
            if (active[i] && !std::isfinite(scores[i]))
                throw dash::ArgumentError("score of active entry " + std::to_string(i) + " is not finite");
        }
        const int64_t remove = integer(n, "n", 0, count);
        double threshold;
        {
            auto* bits = reinterpret_cast<uint8_t*>(out.mutable_data());
            py::gil_scoped_release release;
            threshold = dash::select_smallest(scores, bits, size, remove);
        }
        return py::make_tuple(out, threshold);
    });
}

}  // namespace

PYBIND11_MODULE(_native, module) {
    module.doc() = "CPU operators of dash-hpc; use them through dash_hpc.ops.";
    register_errors();
    py::class_<dash::StopToken>(module, "StopToken", "Set from any thread, it ends the calls that were given it.")
        .def(py::init<>())
        .def("set", &dash::StopToken::set)
        .def("is_set", &dash::StopToken::is_set);
    module.def("build_info", [] {
        return py::dict("isa"_a = dash::operators().isa, "built_isas"_a = dash::built_levels(),
                        "runnable_isas"_a = dash::runnable_levels(), "compiler"_a = __VERSION__);
    });
    module.def("set_isa", [](const py::object& wish) {
        const std::string name = text(wish, "instruction set");
        if (dash::choose_level(name)) return;
        std::string legal;
        for (const auto& level : dash::runnable_levels()) legal += (legal.empty() ? "" : ", ") + level;
        throw dash::ArgumentError("instruction set \"" + name +
                                  "\" cannot run here; this build and processor have: " + legal);
    });
    const auto stop = "stop"_a = py::none();
    module.def("solve", &solve, "weights"_a, "masks"_a, "y0"_a, "dt"_a, py::kw_only(), "method"_a, "rtol"_a, "atol"_a,
               "step"_a, "max_steps"_a, stop);
    module.def("solve_backward", &solve_backward, "weights"_a, "y0"_a, "step_sizes"_a, "grad"_a, "method"_a, stop);
    module.def("train_epoch", &train_epoch, "weights"_a, "moment1"_a, "moment2"_a, "masks"_a, "adam_step"_a, "y0"_a,
               "y1"_a, "dt"_a, "batch_ptr"_a, "batch_index"_a, "losses"_a, "lr"_a, "beta1"_a, "beta2"_a, "eps"_a,
               "tau"_a, "prior"_a, py::kw_only(), "method"_a, "rtol"_a, "atol"_a, "step"_a, "max_steps"_a, stop);
    for (const dash::Binding bind : dash::bindings()) bind(module);
    module.def("prior_terms", &prior_terms, "S"_a, "C"_a, "P"_a, "ridge"_a, stop);
    module.def("select", &select_entries, "score"_a, "mask"_a, "n"_a);
}
