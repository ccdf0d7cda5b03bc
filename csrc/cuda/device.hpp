// The machine under the launches: CUDA's runtime (device.cu) or its stand-in on the CPU (emulate.cpp). Errors are thrown
// as DeviceError; its kind names the class of dash_hpc.errors that the bindings raise.
#pragma once
#include <stdexcept>
#include <string>
#include <vector>

#include "views.hpp"

namespace dash {
namespace gpu {

struct DeviceError : std::runtime_error {
    enum Kind { kNoDriver, kNoDevice, kNotBuilt, kMemory, kFault };
    DeviceError(Kind kind_, const std::string& text) : std::runtime_error(text), kind(kind_) {}
    Kind kind;
};

struct DeviceFacts {
    std::string name;
    int major, minor, multiprocessors;
    int64_t shared_bytes;  // that one block can have, with the kernel's own
    int64_t total_bytes, free_bytes;
    int driver, runtime;   // as CUDA numbers versions: 13000 = 13.0; 0 in the emulation
};

int device_count();
void use_device(int index);  // for the calling thread; checks driver, device and built architectures
int current_device();
DeviceFacts device_facts();   // asks for everything, which takes milliseconds

void* device_allocate(int64_t bytes);
void device_release(void* memory) noexcept;
void* staging_allocate(int64_t bytes);  // host memory that transfers quickly
void staging_release(void* memory) noexcept;
void to_device(void* device, const void* host, int64_t bytes);
void to_host(void* host, const void* device, int64_t bytes);

// Threads of a block that needs no more than half of the shared memory: two stand side by side.
constexpr int kSmallThreads = 192;

// Items wait in a queue: tasks[order[0..count-1]]; each block takes the next one when it is done. A team's blocks, all
// of the launch, do them together, one after another.
struct Launch {
    const void* tasks;  // device memory
    const int32_t* order;
    int count;
    int* next;  // device memory, 0
    int blocks, threads;
    Memory memory;
};

// As the compiler built a kernel.
struct KernelFacts {
    int registers;
    int64_t shared_bytes, local_bytes;  // static shared memory; local: stack and spills, per thread
    int most_threads;
};

// What does one type of tasks, as its file in ops/ registers it (kernel.hpp).
struct Kernel {
    const char* name;  // with its precision
    bool team;
    int threads;  // of a large block
    void (*launch)(const Launch& work);  // and wait
    int (*resident)(int threads, int64_t shared_bytes);  // blocks that one multiprocessor can run at once
    KernelFacts (*facts)();
};

// All that are registered.
inline std::vector<const Kernel*>& kernels() {
    static std::vector<const Kernel*> all;
    return all;
}

// The kernel for tasks of this type, a task to a block; that of which all blocks do a task together.
template <class Task>
const Kernel& kernel_of();
template <class Task>
const Kernel& team_kernel_of();

int64_t shared_limit(const Kernel& kernel);  // shared memory that one block can have beside the kernel's own
// Blocks of a kernel that the device can run at once; 0 for a team where the device has no cooperative launch.
int resident_blocks(const Kernel& kernel, int threads, int64_t shared_bytes);

}  // namespace gpu
}  // namespace dash
