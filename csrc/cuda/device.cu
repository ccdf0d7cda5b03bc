// CUDA's runtime behind device.hpp. The driver is reached through the runtime only, so that the module loads on a
// machine without one.
#include "device.hpp"

#include "check.hpp"

namespace dash {
namespace gpu {

static std::string version(int number) {
    return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

static DeviceError::Kind kind_of(cudaError_t code) {
    switch (code) {
        case cudaErrorMemoryAllocation: return DeviceError::kMemory;
        case cudaErrorNoKernelImageForDevice:
        case cudaErrorInvalidKernelImage:
        case cudaErrorUnsupportedPtxVersion:
        case cudaErrorJitCompilerNotFound: return DeviceError::kNotBuilt;
        case cudaErrorNoDevice:
        case cudaErrorInvalidDevice:
        case cudaErrorDevicesUnavailable: return DeviceError::kNoDevice;
        case cudaErrorInsufficientDriver:
        case cudaErrorCompatNotSupportedOnDevice:
        case cudaErrorSystemDriverMismatch:
        case cudaErrorInitializationError: return DeviceError::kNoDriver;
        default: return DeviceError::kFault;
    }
}

void check(cudaError_t code, const char* what) {
    if (code == cudaSuccess) return;
    cudaGetLastError();  // errors that can be recovered from do not stay
    throw DeviceError(kind_of(code), std::string(what) + ": " + cudaGetErrorString(code) + " (" +
                                         cudaGetErrorName(code) + ")");
}

int device_count() {
    int driver = 0, runtime = 0, count = 0;
    check(cudaRuntimeGetVersion(&runtime), "runtime");
    const cudaError_t asked = cudaDriverGetVersion(&driver);
    if (asked != cudaSuccess || driver == 0)
        throw DeviceError(DeviceError::kNoDriver, "no NVIDIA driver is loaded on this machine");
    const cudaError_t code = cudaGetDeviceCount(&count);
    if (code == cudaErrorNoDevice) return 0;
    if (code == cudaErrorInsufficientDriver) {
        cudaGetLastError();
        throw DeviceError(DeviceError::kNoDriver, "the NVIDIA driver serves CUDA " + version(driver) +
                                                      " but this build needs " + version(runtime));
    }
    check(code, "devices");
    return count;
}

void use_device(int index) {
    const int count = device_count();
    if (index < 0 || index >= count)
        throw DeviceError(DeviceError::kNoDevice, "there is no GPU " + std::to_string(index) + "; this process sees " +
                                                      std::to_string(count));
    check(cudaSetDevice(index), "device");
    try {
        kernels().front()->facts();
    } catch (const DeviceError& error) {
        if (error.kind != DeviceError::kNotBuilt) throw;
        cudaDeviceProp p{};
        check(cudaGetDeviceProperties(&p, index), "device properties");
        throw DeviceError(DeviceError::kNotBuilt, std::string(p.name) + " has compute capability " +
                                                      std::to_string(p.major) + "." + std::to_string(p.minor) +
                                                      ", and this build has " DASH_CUDA_ARCHITECTURES);
    }
}

int current_device() {
    int device = 0;
    check(cudaGetDevice(&device), "device");
    return device;
}

static int attribute(cudaDeviceAttr which) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, current_device()), "device attribute");
    return value;
}

int64_t shared_limit(const Kernel& kernel) {
    const int64_t own = kernel.facts().shared_bytes;
    return attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin) - (own + 255) / 256 * 256;
}

DeviceFacts device_facts() {
    const int device = current_device();
    cudaDeviceProp p{};
    check(cudaGetDeviceProperties(&p, device), "device properties");
    size_t free_bytes = 0, total_bytes = 0;
    check(cudaMemGetInfo(&free_bytes, &total_bytes), "device memory");
    DeviceFacts facts;
    facts.name = p.name;
    facts.major = p.major, facts.minor = p.minor, facts.multiprocessors = p.multiProcessorCount;
    facts.shared_bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
    facts.total_bytes = static_cast<int64_t>(total_bytes), facts.free_bytes = static_cast<int64_t>(free_bytes);
    check(cudaDriverGetVersion(&facts.driver), "driver");
    check(cudaRuntimeGetVersion(&facts.runtime), "runtime");
    return facts;
}

void* device_allocate(int64_t bytes) {
    void* memory = nullptr;
    const cudaError_t code = cudaMalloc(&memory, static_cast<size_t>(bytes > 0 ? bytes : 256));
    if (code != cudaSuccess) {
        size_t free_bytes = 0, total_bytes = 0;
        cudaGetLastError();
        cudaMemGetInfo(&free_bytes, &total_bytes);
        if (code == cudaErrorMemoryAllocation)
            throw DeviceError(DeviceError::kMemory, std::to_string(bytes >> 20) + " MiB are needed, " +
                                                        std::to_string(free_bytes >> 20) + " of " +
                                                        std::to_string(total_bytes >> 20) + " MiB are free");
        check(code, "device memory");
    }
    return memory;
}

void device_release(void* memory) noexcept { cudaFree(memory); }

void* staging_allocate(int64_t bytes) {
    void* memory = nullptr;
    check(cudaMallocHost(&memory, static_cast<size_t>(bytes > 0 ? bytes : 256)), "pinned memory");
    return memory;
}

void staging_release(void* memory) noexcept { cudaFreeHost(memory); }

void to_device(void* device, const void* host, int64_t bytes) {
    check(cudaMemcpy(device, host, static_cast<size_t>(bytes), cudaMemcpyHostToDevice), "copy to the device");
}

void to_host(void* host, const void* device, int64_t bytes) {
    check(cudaMemcpy(host, device, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost), "copy from the device");
}

int resident_blocks(const Kernel& kernel, int threads, int64_t shared_bytes) {
    if (kernel.team && !attribute(cudaDevAttrCooperativeLaunch)) return 0;
    int each = kernel.resident(threads, shared_bytes);
    if (each < 1) throw DeviceError(DeviceError::kFault, "a block does not fit a multiprocessor");
    if (kernel.team) each = 1;  // more would only make barriers slower
    return each * attribute(cudaDevAttrMultiProcessorCount);
}

}  // namespace gpu
}  // namespace dash
