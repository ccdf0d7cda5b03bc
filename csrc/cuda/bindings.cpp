// dash_hpc._native_cuda, and with DASH_CUDA_EMULATION dash_hpc._cuda_emulation: NumPy arrays in, results in place or as
// NumPy arrays. Shapes are checked once more; messages for users come from the Python side.
#include "bindings.hpp"

#include <pybind11/stl.h>

#include <array>
#include <cmath>

#ifdef DASH_CUDA_EMULATION
#include "emulate.hpp"
#else
namespace dash {
namespace gpu {
extern const char* const kResources;  // written by resources.py
}
}  // namespace dash
#endif

using namespace pybind11::literals;
using namespace dash::gpu;

std::mutex dash::gpu::one_at_a_time;

namespace {

const std::array<const char*, dash::N_TENSORS> kNames = {"W_sums", "b_sums",  "W_prods", "b_prods",
                                                         "U_sums", "U_prods", "v"};
const std::array<int, 4> kMatrices = {dash::W_SUMS, dash::W_PRODS, dash::U_SUMS, dash::U_PRODS};
py::object find(const py::dict& arrays, const char* name) {
    if (!arrays.contains(name)) throw py::value_error(std::string(name) + " is missing");
    return arrays[name];
}

bool is_float(const py::dict& weights) { return py::isinstance<py::array_t<float>>(find(weights, "v")); }

int method_number(const std::string& method) {
    if (method == "dopri5") return 0;
    if (method == "rk4") return 1;
    throw py::value_error("method must be dopri5 or rk4");
}

dash::SolveOptions options_of(const py::dict& solver) {
    return {method_number(solver["method"].cast<std::string>()), solver["rtol"].cast<double>(),
            solver["atol"].cast<double>(), solver["step"].cast<double>(), solver["max_steps"].cast<int64_t>()};
}

// A matrix of the weights: an array, or (row pointers, columns, values) of its rows.
template <class T>
HostMatrix<T> matrix_of(const py::dict& weights, int tensor, int64_t G, int64_t m, bool writable, int64_t* values) {
    HostMatrix<T> A{};
    const char* name = kNames[tensor];
    const py::object found = find(weights, name);
    A.rows_are_hidden = tensor == dash::W_SUMS || tensor == dash::W_PRODS;
    const int64_t rows = A.rows_are_hidden ? m : G, columns = A.rows_are_hidden ? G : m;
    *values = G * m;
    if (py::isinstance<py::tuple>(found)) {
        const auto parts = found.cast<py::tuple>();
        if (parts.size() != 3) throw py::value_error(std::string(name) + " must be (pointers, columns, values)");
        A.ptr = pointer<int64_t>(parts[0], rows + 1, name);
        *values = A.ptr[rows];
        A.column = pointer<int32_t>(parts[1], *values, name);
        A.value = pointer<T>(parts[2], *values, name, writable);
        bool fits = A.ptr[0] == 0;
        for (int64_t r = 0; r < rows; ++r) fits = fits && A.ptr[r] <= A.ptr[r + 1];
        for (int64_t k = 0; fits && k < *values; ++k) fits = A.column[k] >= 0 && A.column[k] < columns;
        if (!fits) throw py::value_error(std::string(name) + " is not a compressed matrix");
    } else {
        // the kernels count entries in 32 bits; an array of that size would be 8 GiB
        if ((G + kLanes) * (m + kHidden) > INT32_MAX)
            throw py::value_error(std::string(name) + " is too large for the GPU; hold it compressed");
        A.value = pointer<T>(found, G * m, name, writable);
    }
    return A;
}

template <class T>
struct Checked {
    HostModel<T> model;
    int64_t values[4];
};

template <class T>
Checked<T> model_of(const py::dict& weights, const py::dict& masks, bool need_masks, bool writable) {
    Checked<T> out{};
    const int64_t G = py::len(find(weights, "v")), m = py::len(find(weights, "b_sums"));
    if (G < 1 || m < 1 || G >= 65536 - 64 || m >= 65536 - 64)
        throw py::value_error("genes and hidden units must number 1 to 65471");
    out.model.G = G, out.model.m = m;
    for (int i = 0; i < 4; ++i) {
        const char* name = kNames[kMatrices[i]];
        HostMatrix<T>& A = out.model.matrix[i];
        A = matrix_of<T>(weights, kMatrices[i], G, m, writable, &out.values[i]);
        if (masks.contains(name))
            A.mask = reinterpret_cast<const uint8_t*>(pointer<bool>(masks[name], out.values[i], name));
        else if (need_masks)
            throw py::value_error(std::string("mask is missing for ") + name);
    }
    out.model.b[0] = pointer<T>(find(weights, "b_sums"), m, "b_sums", writable);
    out.model.b[1] = pointer<T>(find(weights, "b_prods"), m, "b_prods", writable);
    out.model.v = pointer<T>(find(weights, "v"), G, "v", writable);
    return out;
}

Choices choices_of(const py::dict& choices) {
    return {choices["compress_below"].cast<double>(), choices["shared_bytes"].cast<int64_t>(),
            choices["state_limit"].cast<int64_t>(), choices["team"].cast<int>()};
}

template <class T>
HostRun<T> run_of(const py::dict& job) {
    const auto weights = job["weights"].cast<py::dict>(), moment1 = job["moment1"].cast<py::dict>(),
               moment2 = job["moment2"].cast<py::dict>();
    const Checked<T> checked = model_of<T>(weights, job["masks"].cast<py::dict>(), true, true);
    HostRun<T> run{};
    run.model = checked.model;
    const int64_t G = run.model.G, m = run.model.m;
    for (int i = 0; i < 4; ++i) {
        const char* name = kNames[kMatrices[i]];
        run.model.matrix[i].moment1 = pointer<T>(find(moment1, name), checked.values[i], "moment1", true);
        run.model.matrix[i].moment2 = pointer<T>(find(moment2, name), checked.values[i], "moment2", true);
    }
    for (int k = 0; k < 2; ++k) {
        const char* name = k ? "b_prods" : "b_sums";
        run.b_moment1[k] = pointer<T>(find(moment1, name), m, "moment1", true);
        run.b_moment2[k] = pointer<T>(find(moment2, name), m, "moment2", true);
    }
    run.v_moment1 = pointer<T>(find(moment1, "v"), G, "moment1", true);
    run.v_moment2 = pointer<T>(find(moment2, "v"), G, "moment2", true);
    run.step = job["step"].cast<int64_t>();
    run.options = options_of(job["solver"].cast<py::dict>());
    run.N = py::len(job["dt"]);
    run.dt = pointer<double>(job["dt"], run.N, "dt");
    run.y0 = pointer<T>(job["y0"], run.N * G, "y0");
    run.y1 = pointer<T>(job["y1"], run.N * G, "y1");
    run.n_batches = static_cast<int64_t>(py::len(job["batch_ptr"])) - 1;
    run.batch_ptr = pointer<int64_t>(job["batch_ptr"], run.n_batches + 1, "batch_ptr");
    const int64_t used = py::len(job["batch_index"]);
    run.batch_index = pointer<int64_t>(job["batch_index"], used, "batch_index");
    bool fits = run.n_batches >= 0 && run.batch_ptr[0] == 0 && run.batch_ptr[run.n_batches] == used;
    for (int64_t k = 0; fits && k < run.n_batches; ++k) fits = run.batch_ptr[k] <= run.batch_ptr[k + 1];
    for (int64_t k = 0; fits && k < used; ++k) fits = run.batch_index[k] >= 0 && run.batch_index[k] < run.N;
    if (!fits) throw py::value_error("batch_ptr or batch_index is out of range");
    const auto lr = job["lr"].cast<std::array<double, dash::N_TENSORS>>();
    for (int i = 0; i < dash::N_TENSORS; ++i) run.lr[i] = lr[i];
    run.beta1 = job["beta1"].cast<double>(), run.beta2 = job["beta2"].cast<double>();
    run.eps = job["eps"].cast<double>();
    run.tau = job["tau"].cast<double>();
    if (!job["prior"].is_none()) {  // states, row pointers, columns, values, multipliers
        const auto parts = job["prior"].cast<py::tuple>();
        dash::PriorLossArgs<T>& prior = run.prior;
        prior.points = py::len(parts[0]);
        prior.states = pointer<T>(parts[0], prior.points * G, "prior states");
        prior.ptr = pointer<int64_t>(parts[1], G + 1, "prior row pointers");
        const int64_t entries = py::len(parts[2]);
        prior.index = pointer<int64_t>(parts[2], entries, "prior columns");
        prior.value = pointer<double>(parts[3], entries, "prior values");
        prior.multipliers = parts[4].cast<bool>();
        bool whole = prior.ptr[0] == 0 && prior.ptr[G] == entries;
        for (int64_t g = 0; g < G; ++g) whole = whole && prior.ptr[g] <= prior.ptr[g + 1];
        for (int64_t k = 0; whole && k < entries; ++k) whole = prior.index[k] >= 0 && prior.index[k] < G;
        if (!whole) throw py::value_error("the prior network is not a CSR matrix [G, G]");
    }
    run.loss = pointer<double>(job["loss"], run.n_batches, "loss", true);
    return run;
}

template <class T>
py::list train_as(const py::list& jobs, const Choices& choices) {
    std::vector<HostRun<T>> runs;
    for (const auto& job : jobs) runs.push_back(run_of<T>(job.cast<py::dict>()));
    {
        py::gil_scoped_release release;
        const std::lock_guard<std::mutex> lock(one_at_a_time);
        train_pack(runs, choices);
    }
    py::list out;
    for (const auto& run : runs) out.append(py::make_tuple(run.step, run.evaluations, run.status));
    return out;
}

py::list train(const py::list& jobs, const py::dict& choices) {
    if (jobs.empty()) return py::list();
    const auto first = jobs[0].cast<py::dict>()["weights"].cast<py::dict>();
    return is_float(first) ? train_as<float>(jobs, choices_of(choices)) : train_as<double>(jobs, choices_of(choices));
}

template <class T>
py::list solve_as(const py::list& jobs, const Choices& choices) {
    std::vector<HostSolve<T>> solves;
    py::list out;
    for (const auto& item : jobs) {
        const auto job = item.cast<py::dict>();
        const Checked<T> checked =
            model_of<T>(job["weights"].cast<py::dict>(), job["masks"].cast<py::dict>(), false, false);
        HostSolve<T> solve{};
        solve.model = checked.model;
        solve.options = options_of(job["solver"].cast<py::dict>());
        const py::ssize_t B = py::len(job["dt"]), G = solve.model.G;
        solve.B = B;
        solve.dt = pointer<double>(job["dt"], B, "dt");
        solve.y0 = pointer<T>(job["y0"], B * G, "y0");
        py::array_t<T> y1({B, G});
        py::array_t<int64_t> status(B), steps(B), rejected(B), evaluations(B);
        solve.y1 = y1.mutable_data();
        solve.status = status.mutable_data(), solve.steps = steps.mutable_data();
        solve.rejected = rejected.mutable_data(), solve.evaluations = evaluations.mutable_data();
        solves.push_back(solve);
        out.append(py::make_tuple(y1, status, steps, rejected, evaluations));
    }
    {
        py::gil_scoped_release release;
        const std::lock_guard<std::mutex> lock(one_at_a_time);
        solve_pack(solves, choices);
    }
    for (size_t k = 0; k < solves.size(); ++k) {
        const HostSolve<T>& solve = solves[k];
        py::array_t<double> sizes({py::ssize_t(solve.B), py::ssize_t(solve.width)});
        std::copy(solve.sizes.begin(), solve.sizes.end(), sizes.mutable_data());
        const auto five = out[k].cast<py::tuple>();
        out[k] = py::make_tuple(five[0], five[1], five[2], five[3], five[4], sizes);
    }
    return out;
}

py::list solve(const py::list& jobs, const py::dict& choices) {
    if (jobs.empty()) return py::list();
    const auto first = jobs[0].cast<py::dict>()["weights"].cast<py::dict>();
    return is_float(first) ? solve_as<float>(jobs, choices_of(choices)) : solve_as<double>(jobs, choices_of(choices));
}

template <class T>
py::tuple backward_as(const py::dict& weights, const py::array& y0, const py::array& sizes, const py::array& grad,
                      int method, const Choices& choices) {
    const Checked<T> checked = model_of<T>(weights, py::dict(), false, false);
    if (sizes.ndim() != 2) throw py::value_error("step_sizes must be [B, n]");
    HostBackward<T> job{};
    job.model = checked.model, job.method = method, job.B = sizes.shape(0), job.n = sizes.shape(1);
    const int64_t G = job.model.G, m = job.model.m;
    // every entry gets its gradient, also those that are 0
    const std::vector<uint8_t> all(G * m, 1);
    job.y0 = pointer<T>(y0, job.B * G, "y0");
    job.sizes = pointer<double>(sizes, sizes.size(), "step_sizes");
    job.grad_y1 = pointer<T>(grad, job.B * G, "grad");
    py::array_t<T> grad_y0({py::ssize_t(job.B), py::ssize_t(G)});
    job.grad_y0 = grad_y0.mutable_data();
    py::dict grads;
    for (int i = 0; i < 4; ++i) {
        job.model.matrix[i].mask = all.data();
        const bool compressed = job.model.matrix[i].ptr != nullptr;
        const std::vector<py::ssize_t> dense = i < 2 ? std::vector<py::ssize_t>{py::ssize_t(m), py::ssize_t(G)}
                                                     : std::vector<py::ssize_t>{py::ssize_t(G), py::ssize_t(m)};
        py::array_t<T> out(compressed ? std::vector<py::ssize_t>{py::ssize_t(checked.values[i])} : dense);
        job.grad[kMatrices[i]] = out.mutable_data();
        grads[kNames[kMatrices[i]]] = out;
    }
    for (const int tensor : {dash::B_SUMS, dash::B_PRODS, dash::V}) {
        py::array_t<T> out(tensor == dash::V ? G : m);
        job.grad[tensor] = out.mutable_data();
        grads[kNames[tensor]] = out;
    }
    {
        py::gil_scoped_release release;
        const std::lock_guard<std::mutex> lock(one_at_a_time);
        backward(job, choices);
    }
    return py::make_tuple(grad_y0, grads);
}

py::tuple solve_backward(const py::dict& weights, const py::array& y0, const py::array& sizes, const py::array& grad,
                         const std::string& method, const py::dict& choices) {
    const int number = method_number(method);
    return is_float(weights) ? backward_as<float>(weights, y0, sizes, grad, number, choices_of(choices))
                             : backward_as<double>(weights, y0, sizes, grad, number, choices_of(choices));
}

py::dict facts() {
    const DeviceFacts f = device_facts();
    return py::dict("name"_a = f.name, "capability"_a = py::make_tuple(f.major, f.minor),
                    "multiprocessors"_a = f.multiprocessors, "shared_bytes"_a = f.shared_bytes,
                    "total_bytes"_a = f.total_bytes, "free_bytes"_a = f.free_bytes, "driver"_a = f.driver,
                    "runtime"_a = f.runtime);
}

py::dict kernels() {
    py::dict out;
    const std::array<const char*, kKernels> names = {"train",  "solve",  "backward",  "train_team",
                                                     "solve_team", "scores", "select"};
    for (int k = 0; k < kKernels; ++k)
        for (const bool single : {true, false}) {
            const auto kernel = static_cast<Kernel>(k);
            if (single && only_double(kernel)) continue;
            const KernelFacts f = single ? kernel_facts<float>(kernel) : kernel_facts<double>(kernel);
            out[py::str(std::string(names[k]) + (single ? "_f32" : "_f64"))] =
                py::dict("registers"_a = f.registers, "shared_bytes"_a = f.shared_bytes,
                         "local_bytes"_a = f.local_bytes, "most_threads"_a = f.most_threads);
        }
    return out;
}

}  // namespace

#ifdef DASH_CUDA_EMULATION
PYBIND11_MODULE(_cuda_emulation, module) {
    module.doc() = "The CUDA kernels' source on the CPU, for tests.";
#else
PYBIND11_MODULE(_native_cuda, module) {
    module.doc() = "CUDA operators of dash-hpc; use them through dash_hpc.ops.cuda.";
#endif
    // (kind, text); dash_hpc.ops.cuda makes named errors of them. Local: the emulation has a class of its own.
    static py::exception<DeviceError> device_error(module, "DeviceError");
    py::register_local_exception_translator([](std::exception_ptr p) {
        static const std::array<const char*, 5> kinds = {"driver", "device", "architecture", "memory", "fault"};
        try {
            if (p) std::rethrow_exception(p);
        } catch (const DeviceError& error) {
            PyErr_SetObject(device_error.ptr(), py::make_tuple(kinds[error.kind], error.what()).ptr());
        }
    });
    module.def("device_count", &device_count);
    module.def("use_device", &use_device, "index"_a);
    module.def("facts", &facts);
    module.def("kernels", &kernels);
    module.def("train_pack", &train, "jobs"_a, "choices"_a);
    module.def("solve_pack", &solve, "jobs"_a, "choices"_a);
    module.def("solve_backward", &solve_backward, "weights"_a, "y0"_a, "step_sizes"_a, "grad"_a, "method"_a,
               "choices"_a);
    bind_pruning(module);
    module.def("take_timings", [] {
        const Timings t = take_timings();
        return py::dict("host"_a = t.host, "transfer"_a = t.transfer, "kernel"_a = t.kernel);
    });
    module.def("release_memory", [] {
        const std::lock_guard<std::mutex> lock(one_at_a_time);
        release_memory();
    });
#ifdef DASH_CUDA_EMULATION
    module.def("emulate", [](int threads, unsigned seed, int blocks, int64_t shared_bytes, int64_t memory_bytes,
                             bool cooperative) {
        if (threads < 0 || threads % kLanes || blocks < 1) throw py::value_error("threads must be a multiple of 32");
        release_memory();
        emulation() = {threads, seed, blocks, cooperative, shared_bytes, memory_bytes, 0};
    }, "threads"_a = 0, "seed"_a = 0u, "blocks"_a = 2, "shared_bytes"_a = int64_t(232448), "memory_bytes"_a = int64_t(0),
       "cooperative"_a = true);
    module.def("barriers", [] { return emulation().barriers; });
#else
    module.attr("architectures") = DASH_CUDA_ARCHITECTURES;
    module.attr("resources") = kResources;  // JSON, a row per kernel and architecture, as ptxas reported them
#endif
}
