// dash_hpc._native_cuda, and with DASH_CUDA_EMULATION dash_hpc._cuda_emulation: NumPy arrays in, results in place or as
// NumPy arrays. Everything is checked here, whatever the Python side has checked.
#include "../python/operators.hpp"
#include "jobs.hpp"

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
using namespace dash::arguments;
using dash::ArgumentError;
using dash::Extent;

std::mutex dash::gpu::one_at_a_time;

namespace {

template <class T>
HostRun<T> run_of(Arrays& arrays, const py::dict& job) {
    const py::dict moment1 = dictionary(member(job, "moment1"), "moment1"),
                   moment2 = dictionary(member(job, "moment2"), "moment2");
    const Checked<T> checked = model_of<T>(arrays, job, true);
    HostRun<T> run{};
    run.model = checked.model;
    const int64_t G = run.model.G, m = run.model.m;
    auto moment = [&](const py::dict& moments, const char* kind, const char* name, const Shape& shape) {
        return arrays.write<T>(member(moments, name), shape, std::string(kind) + " of " + name);
    };
    for (int i = 0; i < 4; ++i) {
        const char* name = kNames[kMatrices[i]];
        run.model.matrix[i].moment1 = moment(moment1, "moment1", name, checked.shape[i]);
        run.model.matrix[i].moment2 = moment(moment2, "moment2", name, checked.shape[i]);
    }
    for (int k = 0; k < 2; ++k) {
        const char* name = k ? "b_prods" : "b_sums";
        run.b_moment1[k] = moment(moment1, "moment1", name, {m});
        run.b_moment2[k] = moment(moment2, "moment2", name, {m});
    }
    run.v_moment1 = moment(moment1, "moment1", "v", {G}), run.v_moment2 = moment(moment2, "moment2", "v", {G});
    run.step = integer(member(job, "step"), "step", 0, int64_t(1) << 53);
    run.objective = objective_in<T>(arrays, job, G);
    run.N = length_of(member(job, "dt"), "dt");
    const Batches batches = batches_of(arrays, member(job, "batch_ptr"), member(job, "batch_index"), run.N);
    run.n_batches = batches.count, run.batch_ptr = batches.ptr, run.batch_index = batches.index;
    const auto lr = numbers<dash::N_TENSORS>(member(job, "lr"), "lr", 0);
    for (int i = 0; i < dash::N_TENSORS; ++i) run.lr[i] = lr[i];
    run.beta1 = number(member(job, "beta1"), "beta1", 0, kBelowOne);
    run.beta2 = number(member(job, "beta2"), "beta2", 0, kBelowOne);
    run.eps = number(member(job, "eps"), "eps", 0, HUGE_VAL, false);
    run.loss = arrays.write<double>(member(job, "loss"), {run.n_batches}, "loss");
    return run;
}

template <class T>
py::list train_as(const py::list& jobs, const Choices& choices) {
    return guarded("train_pack", [&](Extent& extent) {
        Arrays arrays;
        std::vector<HostRun<T>> runs;
        for (const auto& job : jobs) {
            runs.push_back(run_of<T>(arrays, dictionary(job, "job")));
            extent = {runs.back().model.G, runs.back().model.m, int64_t(runs.size())};
        }
        arrays.settle();
        alone([&] { train_pack(runs, choices); });
        py::list out;
        for (const auto& run : runs) out.append(py::make_tuple(run.step, run.evaluations, run.status));
        return out;
    });
}

py::list train(const py::object& given, const py::object& choices) {
    const py::list jobs = list_of(given, "jobs");
    const Choices wish = choices_of(choices);
    if (jobs.empty()) return py::list();
    return first_is_float(jobs) ? train_as<float>(jobs, wish) : train_as<double>(jobs, wish);
}

template <class T>
py::list solve_as(const py::list& jobs, const Choices& choices) {
    return guarded("solve_pack", [&](Extent& extent) {
        Arrays arrays;
        std::vector<HostSolve<T>> solves;
        py::list out;
        for (const auto& item : jobs) {
            const py::dict job = dictionary(item, "job");
            HostSolve<T> solve{};
            solve.model = model_of<T>(arrays, job, false).model;
            solve.options = options_in(job);
            const int64_t B = length_of(member(job, "dt"), "dt"), G = solve.model.G;
            solve.B = B;
            solve.dt = arrays.read<double>(member(job, "dt"), {B}, "dt");
            check_intervals(solve.dt, B);
            solve.y0 = arrays.read<T>(member(job, "y0"), {B, G}, "y0");
            py::array_t<T> y1({B, G});
            py::array_t<int64_t> status(B), steps(B), rejected(B), evaluations(B);
            solve.y1 = y1.mutable_data();
            solve.status = status.mutable_data(), solve.steps = steps.mutable_data();
            solve.rejected = rejected.mutable_data(), solve.evaluations = evaluations.mutable_data();
            solves.push_back(solve);
            out.append(py::make_tuple(y1, status, steps, rejected, evaluations));
            extent = {G, solve.model.m, int64_t(solves.size())};
        }
        alone([&] { solve_pack(solves, choices); });
        for (size_t k = 0; k < solves.size(); ++k) {
            const HostSolve<T>& solve = solves[k];
            py::array_t<double> sizes({solve.B, solve.width});
            std::copy(solve.sizes.begin(), solve.sizes.end(), sizes.mutable_data());
            const py::tuple five = out[k];
            out[k] = py::make_tuple(five[0], five[1], five[2], five[3], five[4], sizes);
        }
        return out;
    });
}

py::list solve(const py::object& given, const py::object& choices) {
    const py::list jobs = list_of(given, "jobs");
    const Choices wish = choices_of(choices);
    if (jobs.empty()) return py::list();
    return first_is_float(jobs) ? solve_as<float>(jobs, wish) : solve_as<double>(jobs, wish);
}

template <class T>
py::tuple backward_as(const py::dict& weights, const py::object& y0, const py::object& sizes, const py::object& grad,
                      int method, const Choices& choices) {
    return guarded("solve_backward", [&](Extent& extent) {
        Arrays arrays;
        const Checked<T> checked = model_of<T>(arrays, py::dict("weights"_a = weights, "masks"_a = py::dict()), false);
        HostBackward<T> job{};
        job.model = checked.model, job.method = method;
        job.B = length_of(sizes, "step_sizes", 0, 2), job.n = length_of(sizes, "step_sizes", 1, 2);
        const int64_t G = job.model.G, m = job.model.m;
        extent = {G, m, job.B};
        job.y0 = arrays.read<T>(y0, {job.B, G}, "y0");
        job.sizes = arrays.read<double>(sizes, {job.B, job.n}, "step_sizes");
        job.grad_y1 = arrays.read<T>(grad, {job.B, G}, "grad");
        check_step_sizes(job.sizes, job.B, job.n);
        py::array_t<T> grad_y0({job.B, G});
        py::array_t<double> longest(job.B);
        job.grad_y0 = grad_y0.mutable_data(), job.longest = longest.mutable_data();
        py::dict grads;
        std::vector<uint8_t> all;  // every entry gets its gradient, also those that are 0
        for (int i = 0; i < 4; ++i) {
            py::array_t<T> out(std::vector<py::ssize_t>(checked.shape[i].begin(), checked.shape[i].end()));
            resize(all, std::max<size_t>(all.size(), out.size()), uint8_t(1));
            job.grad[kMatrices[i]] = out.mutable_data();
            grads[kNames[kMatrices[i]]] = out;
        }
        for (HostMatrix<T>& A : job.model.matrix) A.mask = all.data();
        for (const int tensor : {dash::B_SUMS, dash::B_PRODS, dash::V}) {
            py::array_t<T> out(tensor == dash::V ? G : m);
            job.grad[tensor] = out.mutable_data();
            grads[kNames[tensor]] = out;
        }
        alone([&] { backward(job, choices); });
        return py::make_tuple(grad_y0, grads, longest);
    });
}

py::tuple solve_backward(const py::object& given, const py::object& y0, const py::object& sizes, const py::object& grad,
                         const py::object& method, const py::object& choices) {
    const int number = method_number(method);
    const py::dict weights = dictionary(given, "weights");
    const Choices wish = choices_of(choices);
    return is_float(weights) ? backward_as<float>(weights, y0, sizes, grad, number, wish)
                             : backward_as<double>(weights, y0, sizes, grad, number, wish);
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
    register_errors();
    module.def("device_count", &device_count);
    module.def("use_device", [](const py::object& index) {
        use_device(static_cast<int>(integer(index, "index of the GPU", 0, INT32_MAX)));
    }, "index"_a);
    module.def("facts", &facts);
    module.def("kernels", &kernels);
    module.def("train_pack", &train, "jobs"_a, "choices"_a);
    module.def("solve_pack", &solve, "jobs"_a, "choices"_a);
    module.def("solve_backward", &solve_backward, "weights"_a, "y0"_a, "step_sizes"_a, "grad"_a, "method"_a,
               "choices"_a);
    for (const dash::Binding bind : dash::bindings()) bind(module);
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
        if (threads < 0 || threads % kLanes || blocks < 1) throw ArgumentError("threads must be a multiple of 32");
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
