// dash_hpc._native_cuda, and with DASH_CUDA_EMULATION dash_hpc._cuda_emulation: the device, and the operators of ops/,
// which take NumPy arrays. Everything is checked there, whatever the Python side has checked.
#include "bindings.hpp"

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

std::mutex dash::gpu::one_at_a_time;

namespace {

py::dict facts() {
    const DeviceFacts f = device_facts();
    return py::dict("name"_a = f.name, "capability"_a = py::make_tuple(f.major, f.minor),
                    "multiprocessors"_a = f.multiprocessors, "shared_bytes"_a = f.shared_bytes,
                    "total_bytes"_a = f.total_bytes, "free_bytes"_a = f.free_bytes, "driver"_a = f.driver,
                    "runtime"_a = f.runtime);
}

py::dict kernel_facts() {
    py::dict out;
    for (const Kernel* kernel : kernels()) {
        const KernelFacts f = kernel->facts();
        out[kernel->name] = py::dict("registers"_a = f.registers, "shared_bytes"_a = f.shared_bytes,
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
    module.def("kernels", &kernel_facts);
    for (const dash::Binding bind : dash::bindings()) bind(module);
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
