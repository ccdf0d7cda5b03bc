// The machine under the launches: CUDA's runtime (device.cu) or its stand-in on the CPU (emulate.cpp). Errors are thrown
// as DeviceError; its kind names the class of dash_hpc.errors that the bindings raise.
#pragma once
#include <stdexcept>
#include <string>

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
    int64_t shared_bytes;  // that one block can have
    int64_t total_bytes, free_bytes;
    int driver, runtime;   // as CUDA numbers versions: 13000 = 13.0; 0 in the emulation
};

int device_count();
void use_device(int index);  // for the calling thread; checks driver, device and built architectures
int current_device();
DeviceFacts device_facts();   // asks for everything, which takes milliseconds
int64_t shared_limit();       // shared memory that one block can have beside the kernels' own

void* device_allocate(int64_t bytes);
void device_release(void* memory) noexcept;
void* staging_allocate(int64_t bytes);  // host memory that transfers quickly
void staging_release(void* memory) noexcept;
void to_device(void* device, const void* host, int64_t bytes);
void to_host(void* host, const void* device, int64_t bytes);

enum class Kernel { kTrain, kSolve, kBackward, kTrainTeam, kSolveTeam, kScores, kSelect };
constexpr int kKernels = 7;
inline bool only_double(Kernel kernel) { return kernel == Kernel::kScores || kernel == Kernel::kSelect; }
inline bool is_team(Kernel kernel) { return kernel == Kernel::kTrainTeam || kernel == Kernel::kSolveTeam; }

// Threads of a block: 384 of at most 168 registers fill the register file of one multiprocessor; float64 takes more
// registers. Blocks that need no more than half of the shared memory are half as large and stand side by side.
template <class T>
constexpr int most_threads() {
    return sizeof(T) == 4 ? 384 : 256;
}
constexpr int kSmallThreads = 192;

// Items wait in a queue: jobs[order[0..count-1]]; each block takes the next one when it is done. A team's blocks, all
// of the launch, do them together, one after another.
template <class T>
struct Launch {
    Kernel kernel;
    const void* jobs;  // TrainView<T>, SolveView<T>, ..., device memory
    const int32_t* order;
    int count;
    int* next;  // device memory, 0
    int blocks, threads;
    Memory memory;
};

// Blocks of a kernel that the device can run at once; 0 for a team where the device has no cooperative launch.
template <class T>
int resident_blocks(Kernel kernel, int threads, int64_t shared_bytes);
template <class T>
void launch(const Launch<T>& work);  // and wait

// As the compiler built a kernel.
struct KernelFacts {
    int registers;
    int64_t shared_bytes, local_bytes;  // static shared memory; local: stack and spills, per thread
    int most_threads;
};
template <class T>
KernelFacts kernel_facts(Kernel kernel);

}  // namespace gpu
}  // namespace dash
