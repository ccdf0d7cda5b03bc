// The device on the CPU: host memory in place of device memory, and the kernels' source with HostBlock (host_kernel.hpp).
// For tests; slow.
#include <cstdlib>
#include <cstring>

#include "device.hpp"
#include "emulate.hpp"

namespace dash {
namespace gpu {

static Emulation settings;
Emulation& emulation() { return settings; }

int device_count() { return 1; }
void use_device(int) {}
int current_device() { return 0; }
DeviceFacts device_facts() {
    return {"emulation", 0, 0, settings.blocks, settings.shared_bytes, int64_t(1) << 40, int64_t(1) << 40, 0, 0};
}

void* device_allocate(int64_t bytes) {
    if (settings.memory_bytes && bytes > settings.memory_bytes)
        throw DeviceError(DeviceError::kMemory, "out of device memory: " + std::to_string(bytes) + " bytes");
    void* memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256 + 256);
    if (!memory) throw DeviceError(DeviceError::kMemory, "out of memory: " + std::to_string(bytes) + " bytes");
    std::memset(memory, 0xff, bytes);  // NaN, so that what is read before it is written shows
    return memory;
}
void device_release(void* memory) noexcept { std::free(memory); }
void* staging_allocate(int64_t bytes) {
    void* memory = std::malloc(bytes ? bytes : 1);
    if (!memory) throw OutOfMemory{bytes};
    return memory;
}
void staging_release(void* memory) noexcept { std::free(memory); }
void to_device(void* device, const void* host, int64_t bytes) { std::memcpy(device, host, bytes); }
void to_host(void* host, const void* device, int64_t bytes) { std::memcpy(host, device, bytes); }

int64_t shared_limit(const Kernel&) { return settings.shared_bytes; }
int resident_blocks(const Kernel& kernel, int threads, int64_t shared_bytes) {
    return kernel.team && !settings.cooperative ? 0 : kernel.resident(threads, shared_bytes);
}

}  // namespace gpu
}  // namespace dash
