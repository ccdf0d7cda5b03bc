// dash_hpc._native: NumPy arrays in, NumPy arrays out. Shapes are checked here once more; messages for users come
// from the Python side.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <vector>

#include "cpu/dispatch.hpp"
#include "cpu/select.hpp"

namespace py = pybind11;
using namespace pybind11::literals;

namespace {

const std::array<const char*, dash::N_TENSORS> kNames = {"W_sums", "b_sums",  "W_prods", "b_prods",
                                                         "U_sums", "U_prods", "v"};

struct Sizes {
    py::ssize_t G, m;
};

bool prunable(int tensor) {
    return tensor != dash::V && tensor != dash::B_SUMS && tensor != dash::B_PRODS;
}

py::object entry(const py::dict& tensors, const char* name) {
    if (!tensors.contains(name)) throw py::value_error(std::string(name) + " is missing");
    return tensors[name];
}

// The values of a tensor: the array itself, or the last of (row pointers, columns, values).
py::array find(const py::dict& tensors, const char* name) {
    const py::object found = entry(tensors, name);
    return (py::isinstance<py::tuple>(found) ? found.cast<py::tuple>()[2].cast<py::object>() : found).cast<py::array>();
}

Sizes sizes_of(const py::dict& weights) { return {find(weights, "v").size(), find(weights, "b_sums").size()}; }

// How many values a tensor has, as its shape says; of a compressed matrix, as its structure says.
py::ssize_t expected(int tensor, Sizes s) {
    if (tensor == dash::V) return s.G;
    return tensor == dash::B_SUMS || tensor == dash::B_PRODS ? s.m : s.G * s.m;
}

// The array itself, which must have the dtype T, the size and C order; never a copy, so that writing works.
template <class T>
T* pointer(const py::array& array, py::ssize_t size, const char* name, bool writable) {
    if (!py::isinstance<py::array_t<T>>(array) || array.size() != size || !(array.flags() & py::array::c_style))
        throw py::value_error(std::string(name) + " must be a C-contiguous array of " + std::to_string(size) +
                              " elements with the weights' dtype");
    if (writable && !array.writeable()) throw py::value_error(std::string(name) + " must be writable");
    return static_cast<T*>(const_cast<void*>(array.data()));
}

struct Form {
    py::ssize_t size;  // number of values
    dash::Structure structure;
};

Form form_of(const py::dict& weights, int tensor, Sizes s) {
    const py::object found = entry(weights, kNames[tensor]);
    if (!py::isinstance<py::tuple>(found)) return {expected(tensor, s), {}};
    const std::string name = kNames[tensor];
    const py::tuple parts = found.cast<py::tuple>();
    if (!prunable(tensor) || parts.size() != 3) throw py::value_error(name + " cannot be compressed");
    const py::array ptr = parts[0].cast<py::array>(), index = parts[1].cast<py::array>();
    const bool genes_first = tensor == dash::U_SUMS || tensor == dash::U_PRODS;
    const py::ssize_t rows = genes_first ? s.G : s.m, columns = genes_first ? s.m : s.G, size = index.size();
    const dash::Structure structure{pointer<int64_t>(ptr, rows + 1, (name + " row pointers").c_str(), false),
                                    pointer<int32_t>(index, size, (name + " columns").c_str(), false)};
    if (structure.ptr[0] != 0 || structure.ptr[rows] != size) throw py::value_error(name + " is not a CSR matrix");
    for (py::ssize_t r = 0; r < rows; ++r) {
        const int64_t first = structure.ptr[r], end = structure.ptr[r + 1];
        if (first > end || end > size) throw py::value_error(name + " is not a CSR matrix");
        for (int64_t k = first; k < end; ++k) {
            const bool rising = k == first || structure.index[k] > structure.index[k - 1];
            if (structure.index[k] < 0 || structure.index[k] >= columns || !rising)
                throw py::value_error(name + " has a column out of range or out of order");
        }
    }
    return {size, structure};
}

const uint8_t* mask_pointer(const py::dict& masks, int tensor, py::ssize_t size) {
    if (!prunable(tensor) || !masks.contains(kNames[tensor])) return nullptr;
    return reinterpret_cast<const uint8_t*>(pointer<bool>(find(masks, kNames[tensor]), size, kNames[tensor], false));
}

template <class T>
dash::Params<T> params_of(const py::dict& weights, const py::dict& masks) {
    const Sizes s = sizes_of(weights);
    dash::Params<T> params{s.G, s.m, {}, {}, {}};
    for (int i = 0; i < dash::N_TENSORS; ++i) {
        const Form form = form_of(weights, i, s);
        params.tensor[i] = pointer<T>(find(weights, kNames[i]), form.size, kNames[i], false);
        params.mask[i] = mask_pointer(masks, i, form.size);
        params.structure[i] = form.structure;
    }
    return params;
}

int method_number(const std::string& method) {
    if (method == "dopri5") return 0;
    if (method == "rk4") return 1;
    throw py::value_error("method must be dopri5 or rk4");
}

bool is_float(const py::dict& weights) { return py::isinstance<py::array_t<float>>(find(weights, "v")); }

class Steps : public dash::StepSink {
  public:
    explicit Steps(py::ssize_t B) : sizes_(B) {}
    void push(int64_t sample, double size) override { sizes_[sample].push_back(size); }
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
    std::vector<std::vector<double>> sizes_;
};

template <class T>
py::tuple solve_as(const py::dict& weights, const py::dict& masks, const py::array& y0, const py::array& dt,
                   const dash::SolveOptions& options, void (*run)(dash::SolveArgs<T>&)) {
    const auto params = params_of<T>(weights, masks);
    const py::ssize_t B = dt.size();
    py::array_t<T> y1({B, py::ssize_t(params.G)});
    py::array_t<int64_t> status(B), steps(B), rejected(B), evaluations(B);
    Steps sink(B);
    dash::SolveArgs<T> args{params, options, B, pointer<T>(y0, B * params.G, "y0", false),
                            pointer<double>(dt, B, "dt", false), y1.mutable_data(), status.mutable_data(),
                            steps.mutable_data(), rejected.mutable_data(), evaluations.mutable_data(), &sink};
    {
        py::gil_scoped_release release;
        run(args);
    }
    return py::make_tuple(y1, status, steps, rejected, evaluations, sink.table());
}

py::tuple solve(const py::dict& weights, const py::dict& masks, const py::array& y0, const py::array& dt,
                const std::string& method, double rtol, double atol, double step, int64_t max_steps) {
    const dash::SolveOptions options{method_number(method), rtol, atol, step, max_steps};
    const dash::Operators& ops = dash::operators();
    return is_float(weights) ? solve_as<float>(weights, masks, y0, dt, options, ops.solve_f32)
                             : solve_as<double>(weights, masks, y0, dt, options, ops.solve_f64);
}

template <class T>
py::tuple backward_as(const py::dict& weights, const py::array& y0, const py::array& sizes, const py::array& grad,
                      int method, void (*run)(dash::AdjointArgs<T>&)) {
    auto params = params_of<T>(weights, py::dict());
    if (sizes.ndim() != 2) throw py::value_error("step_sizes must be [B, n]");
    const py::ssize_t B = sizes.shape(0);
    // every entry gets its gradient, also those that are 0
    const std::vector<uint8_t> all(params.G * params.m, 1);
    py::dict grads;
    py::array_t<T> grad_y0({B, py::ssize_t(params.G)});
    dash::AdjointArgs<T> args{params, method, B, sizes.shape(1), pointer<T>(y0, B * params.G, "y0", false),
                              pointer<double>(sizes, sizes.size(), "step_sizes", false),
                              pointer<T>(grad, B * params.G, "grad", false), grad_y0.mutable_data(), {}};
    for (int i = 0; i < dash::N_TENSORS; ++i) {
        if (prunable(i)) args.params.mask[i] = all.data();
        const py::array like = find(weights, kNames[i]);
        py::array_t<T> out(std::vector<py::ssize_t>(like.shape(), like.shape() + like.ndim()));
        args.grad[i] = out.mutable_data();
        grads[kNames[i]] = out;
    }
    {
        py::gil_scoped_release release;
        run(args);
    }
    return py::make_tuple(grad_y0, grads);
}

py::tuple solve_backward(const py::dict& weights, const py::array& y0, const py::array& sizes, const py::array& grad,
                         const std::string& method) {
    const dash::Operators& ops = dash::operators();
    const int number = method_number(method);
    return is_float(weights) ? backward_as<float>(weights, y0, sizes, grad, number, ops.adjoint_f32)
                             : backward_as<double>(weights, y0, sizes, grad, number, ops.adjoint_f64);
}

template <class T>
dash::PriorLossArgs<T> prior_of(const py::object& given, Sizes s) {
    const auto parts = given.cast<std::tuple<py::array, py::array, py::array, py::array, bool>>();
    dash::PriorLossArgs<T> args;
    const py::array &states = std::get<0>(parts), &ptr = std::get<1>(parts), &index = std::get<2>(parts);
    if (states.ndim() != 2 || states.shape(1) != s.G) throw py::value_error("prior states must be [points, G]");
    args.points = states.shape(0);
    args.states = pointer<T>(states, states.size(), "prior states", false);
    args.ptr = pointer<int64_t>(ptr, s.G + 1, "prior row pointers", false);
    args.index = pointer<int64_t>(index, index.size(), "prior columns", false);
    args.value = pointer<double>(std::get<3>(parts), index.size(), "prior values", false);
    args.multipliers = std::get<4>(parts);
    bool fits = args.ptr[0] == 0 && args.ptr[s.G] == index.size();
    for (py::ssize_t g = 0; g < s.G; ++g) fits = fits && args.ptr[g] <= args.ptr[g + 1];
    for (py::ssize_t k = 0; k < index.size(); ++k) fits = fits && args.index[k] >= 0 && args.index[k] < s.G;
    if (!fits) throw py::value_error("the prior network is not a CSR matrix [G, G]");
    return args;
}

template <class T>
py::tuple train_as(const py::dict& weights, const py::dict& moment1, const py::dict& moment2, const py::dict& masks,
                   int64_t step, const py::array& y0, const py::array& y1, const py::array& dt,
                   const py::array& batch_ptr, const py::array& batch_index, const py::array& losses,
                   const std::array<double, dash::N_TENSORS>& lr, double beta1, double beta2, double eps, double tau,
                   const py::object& prior, const dash::SolveOptions& options, void (*run)(dash::TrainArgs<T>&)) {
    const Sizes s = sizes_of(weights);
    dash::TrainArgs<T> args{};
    args.G = s.G, args.m = s.m, args.step = step, args.options = options;
    for (int i = 0; i < dash::N_TENSORS; ++i) {
        const Form form = form_of(weights, i, s);
        const py::ssize_t size = form.size;
        args.structure[i] = form.structure;
        args.weight[i] = pointer<T>(find(weights, kNames[i]), size, kNames[i], true);
        args.moment1[i] = pointer<T>(find(moment1, kNames[i]), size, "moment1", true);
        args.moment2[i] = pointer<T>(find(moment2, kNames[i]), size, "moment2", true);
        args.mask[i] = mask_pointer(masks, i, size);
        args.lr[i] = lr[i];
        if (prunable(i) && !args.mask[i]) throw py::value_error(std::string("mask is missing for ") + kNames[i]);
    }
    const py::ssize_t N = dt.size();
    args.n_batches = batch_ptr.size() - 1;
    args.batch_ptr = pointer<int64_t>(batch_ptr, batch_ptr.size(), "batch_ptr", false);
    args.batch_index = pointer<int64_t>(batch_index, batch_index.size(), "batch_index", false);
    for (py::ssize_t k = 0; k < batch_index.size(); ++k)
        if (args.batch_index[k] < 0 || args.batch_index[k] >= N) throw py::value_error("batch_index is out of range");
    if (args.n_batches < 0 || args.batch_ptr[0] != 0 || args.batch_ptr[args.n_batches] != batch_index.size())
        throw py::value_error("batch_ptr must run from 0 to the length of batch_index");
    args.y0 = pointer<T>(y0, N * s.G, "y0", false);
    args.y1 = pointer<T>(y1, N * s.G, "y1", false);
    args.dt = pointer<double>(dt, N, "dt", false);
    args.beta1 = beta1, args.beta2 = beta2, args.eps = eps, args.tau = tau;
    if (!prior.is_none()) args.prior = prior_of<T>(prior, s);
    args.loss = pointer<double>(losses, args.n_batches, "losses", true);
    {
        py::gil_scoped_release release;
        run(args);
    }
    return py::make_tuple(args.step, args.evaluations, args.status);
}

py::tuple train_epoch(const py::dict& weights, const py::dict& moment1, const py::dict& moment2,
                      const py::dict& masks, int64_t step, const py::array& y0, const py::array& y1,
                      const py::array& dt, const py::array& batch_ptr, const py::array& batch_index,
                      const py::array& losses, const std::array<double, dash::N_TENSORS>& lr, double beta1,
                      double beta2, double eps, double tau, const py::object& prior, const std::string& method,
                      double rtol, double atol, double rk4_step, int64_t max_steps) {
    const dash::SolveOptions options{method_number(method), rtol, atol, rk4_step, max_steps};
    const dash::Operators& ops = dash::operators();
    return is_float(weights) ? train_as<float>(weights, moment1, moment2, masks, step, y0, y1, dt, batch_ptr,
                                               batch_index, losses, lr, beta1, beta2, eps, tau, prior, options, ops.train_f32)
                             : train_as<double>(weights, moment1, moment2, masks, step, y0, y1, dt, batch_ptr,
                                                batch_index, losses, lr, beta1, beta2, eps, tau, prior, options, ops.train_f64);
}

using Index = py::array_t<int64_t, py::array::c_style>;
using Values = py::array_t<double, py::array::c_style>;
struct Csr {
    Index ptr, index;
    Values value;
};

Csr csr_of(const py::object& triple, py::ssize_t columns, const char* name) {
    const auto parts = triple.cast<std::tuple<Index, Index, Values>>();
    Csr csr{std::get<0>(parts), std::get<1>(parts), std::get<2>(parts)};
    const bool fits = csr.ptr.size() >= 1 && csr.ptr.at(0) == 0 && csr.ptr.at(csr.ptr.size() - 1) == csr.index.size() &&
                      csr.value.size() == csr.index.size();
    if (!fits) throw py::value_error(std::string(name) + " is not a CSR matrix");
    for (py::ssize_t k = 1; k < csr.ptr.size(); ++k)
        if (csr.ptr.at(k) < csr.ptr.at(k - 1)) throw py::value_error(std::string(name) + " is not a CSR matrix");
    for (py::ssize_t k = 0; k < csr.index.size(); ++k)
        if (csr.index.at(k) < 0 || csr.index.at(k) >= columns)
            throw py::value_error(std::string(name) + " has a column out of range");
    return csr;
}

// (first or None, second or None, condition, rho), or None when Cholesky is not safe
py::object prior_terms(const Values& S, const py::object& C, const py::object& P, double ridge) {
    if (S.ndim() != 2) throw py::value_error("S must be [m, G]");
    dash::PriorTermsArgs args{};
    args.m = S.shape(0), args.G = S.shape(1), args.S = S.data(), args.ridge = ridge;
    Csr c, p;
    py::object first = py::none(), second = py::none();
    if (!C.is_none()) {
        c = csr_of(C, args.G, "C");
        if (c.ptr.size() != args.G + 1) throw py::value_error("C must be [G, G]");
        args.c_ptr = c.ptr.data(), args.c_index = c.index.data(), args.c_value = c.value.data();
        py::array_t<double> out({args.m, args.G});
        args.first = out.mutable_data();
        first = out;
    }
    if (!P.is_none()) {
        p = csr_of(P, args.G, "P");
        args.targets = p.ptr.size() - 1;
        args.p_ptr = p.ptr.data(), args.p_index = p.index.data(), args.p_value = p.value.data();
        py::array_t<double> out({args.targets, args.m});
        args.second = out.mutable_data();
        second = out;
    }
    {
        py::gil_scoped_release release;
        dash::operators().prior_terms(args);
    }
    if (!args.ok) return py::make_tuple(py::none(), py::none(), args.condition, 0.0, false);
    return py::make_tuple(first, second, args.condition, args.rho, true);
}

py::tuple select_entries(const Values& score, const py::array_t<bool, py::array::c_style>& mask, int64_t n) {
    if (score.size() != mask.size()) throw py::value_error("score and mask must have one shape");
    py::array_t<bool> out(std::vector<py::ssize_t>(mask.shape(), mask.shape() + mask.ndim()));
    std::copy(mask.data(), mask.data() + mask.size(), out.mutable_data());
    int64_t active = 0;
    for (py::ssize_t i = 0; i < mask.size(); ++i) active += mask.data()[i];
    if (n < 0 || n > active) throw py::value_error("n must lie between 0 and the number of active entries");
    double threshold;
    {
        auto* bits = reinterpret_cast<uint8_t*>(out.mutable_data());
        py::gil_scoped_release release;
        threshold = dash::select_smallest(score.data(), bits, score.size(), n);
    }
    return py::make_tuple(out, threshold);
}

}  // namespace

PYBIND11_MODULE(_native, module) {
    module.doc() = "CPU operators of dash-hpc; use them through dash_hpc.ops.";
    py::register_exception_translator([](std::exception_ptr p) {
        try {
            if (p) std::rethrow_exception(p);
        } catch (const dash::OutOfMemory&) {
            PyErr_SetString(PyExc_MemoryError, "dash_hpc._native: out of memory");
        }
    });
    module.def("build_info", [] {
        return py::dict("isa"_a = dash::operators().isa, "built_isas"_a = dash::built_levels(),
                        "runnable_isas"_a = dash::runnable_levels(), "compiler"_a = __VERSION__);
    });
    module.def("set_isa", [](const std::string& name) {
        if (dash::choose_level(name)) return;
        std::string legal;
        for (const auto& level : dash::runnable_levels()) legal += (legal.empty() ? "" : ", ") + level;
        throw py::value_error("instruction set \"" + name + "\" cannot run here; this build and processor have: " + legal);
    });
    module.def("solve", &solve, "weights"_a, "masks"_a, "y0"_a, "dt"_a, py::kw_only(), "method"_a, "rtol"_a, "atol"_a,
               "step"_a, "max_steps"_a);
    module.def("solve_backward", &solve_backward, "weights"_a, "y0"_a, "step_sizes"_a, "grad"_a, "method"_a);
    module.def("train_epoch", &train_epoch, "weights"_a, "moment1"_a, "moment2"_a, "masks"_a, "adam_step"_a, "y0"_a,
               "y1"_a, "dt"_a, "batch_ptr"_a, "batch_index"_a, "losses"_a, "lr"_a, "beta1"_a, "beta2"_a, "eps"_a,
               "tau"_a, "prior"_a, py::kw_only(), "method"_a, "rtol"_a, "atol"_a, "step"_a, "max_steps"_a);
    module.def("prior_terms", &prior_terms, "S"_a, "C"_a, "P"_a, "ridge"_a);
    module.def("select", &select_entries, "score"_a, "mask"_a, "n"_a);
}
