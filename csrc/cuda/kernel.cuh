// The frames of the kernels. Blocks stay, take jobs from a queue until it is empty, and keep their context in shared
// memory; the blocks of a team do all jobs of the queue together.
#pragma once
#include "check.hpp"
#include "context.hpp"
#include "device.hpp"

namespace dash {
namespace gpu {

template <class T, class Job, class Kept = Context<T, 1>, class Body>
__device__ __forceinline__ void take_jobs(const Launch<T>& work, Body body) {
    extern __shared__ __align__(16) char near[];
    __shared__ __align__(16) char context_memory[sizeof(Kept)];
    __shared__ int ticket;
    auto* context = reinterpret_cast<Kept*>(context_memory);
    for (;;) {
        __syncthreads();
        if (threadIdx.x == 0) ticket = atomicAdd(work.next, 1);
        __syncthreads();
        if (ticket >= work.count) return;
        char* far = work.memory.scratch + blockIdx.x * work.memory.scratch_bytes;
        body(DeviceBlock{}, context, static_cast<const Job*>(work.jobs) + work.order[ticket], near, far);
    }
}

template <class T, class Job, class Body>
__device__ __forceinline__ void share_jobs(const Launch<T>& work, Body body) {
    __shared__ __align__(16) char context_memory[sizeof(Context<T, kTeamTiles>)];
    auto* context = reinterpret_cast<Context<T, kTeamTiles>*>(context_memory);
    __shared__ int number;
    if (threadIdx.x == 0) number = 0;
    __syncthreads();
    while (number < work.count) {
        body(DeviceTeam{}, context, static_cast<const Job*>(work.jobs) + work.order[number], work.memory.scratch);
        DeviceTeam{}.barrier();  // the next job uses the same memory
        if (threadIdx.x == 0) ++number;
        __syncthreads();
    }
}

// Shared memory for as many blocks as fit; L1 gets the rest.
template <class K>
void prepare(K kernel, int bytes) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), "shared memory");
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared),
          "shared memory");
}

template <class T, class K>
void launch_kernel(K kernel, const Launch<T>& work) {
    const int bytes = static_cast<int>(work.memory.shared_bytes);
    prepare(kernel, bytes);
    kernel<<<work.blocks, work.threads, bytes>>>(work);
    check(cudaGetLastError(), "launch");
    check(cudaDeviceSynchronize(), "kernel");
}

// All blocks at once. A team has nothing but its context in shared memory, L1 gets the rest. Where others hold a part of
// the device (MPS), fewer blocks do the same.
template <class T, class K>
void launch_team(K kernel, const Launch<T>& work) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxL1),
          "shared memory");
    Launch<T> argument = work;
    void* arguments[] = {&argument};
    cudaError_t code = cudaErrorCooperativeLaunchTooLarge;
    for (int blocks = work.blocks; code == cudaErrorCooperativeLaunchTooLarge && blocks > 0; blocks /= 2) {
        cudaGetLastError();  // the answer to the try before
        code = cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(kernel), dim3(blocks), dim3(work.threads),
                                           arguments, 0, nullptr);
    }
    check(code, "launch of a team");
    check(cudaDeviceSynchronize(), "kernel");
}

template <class K>
int resident(K kernel, int threads, int64_t shared_bytes) {
    const int bytes = static_cast<int>(shared_bytes);
    prepare(kernel, bytes);
    int blocks = 0;
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, bytes), "occupancy");
    return blocks;
}

template <class K>
KernelFacts facts_of(K kernel) {
    cudaFuncAttributes found{};
    check(cudaFuncGetAttributes(&found, kernel), "kernel attributes");
    return {found.numRegs, static_cast<int64_t>(found.sharedSizeBytes), static_cast<int64_t>(found.localSizeBytes),
            found.maxThreadsPerBlock};
}

// What a kernel's file gives to device.cu.
struct KernelTable {
    void (*launch_f32)(const Launch<float>&);
    void (*launch_f64)(const Launch<double>&);
    int (*resident_f32)(int threads, int64_t shared_bytes);
    int (*resident_f64)(int threads, int64_t shared_bytes);
    KernelFacts (*facts_f32)();
    KernelFacts (*facts_f64)();
};

#define DASH_KERNEL_TABLE(name, kernel) DASH_TABLE(name, kernel, launch_kernel)
#define DASH_TEAM_TABLE(name, kernel) DASH_TABLE(name, kernel, launch_team)
#define DASH_TABLE(name, kernel, launch_it)                                                               \
    const KernelTable name = {                                                                            \
        [](const Launch<float>& work) { launch_it(kernel<float>, work); },                                \
        [](const Launch<double>& work) { launch_it(kernel<double>, work); },                              \
        [](int threads, int64_t bytes) { return resident(kernel<float>, threads, bytes); },               \
        [](int threads, int64_t bytes) { return resident(kernel<double>, threads, bytes); },              \
        [] { return facts_of(kernel<float>); },                                                           \
        [] { return facts_of(kernel<double>); },                                                          \
    }

// For what is computed in float64 only.
#define DASH_KERNEL_TABLE_F64(name, kernel)                                                               \
    const KernelTable name = {                                                                            \
        nullptr,                                                                                          \
        [](const Launch<double>& work) { launch_kernel(kernel<double>, work); },                          \
        nullptr,                                                                                          \
        [](int threads, int64_t bytes) { return resident(kernel<double>, threads, bytes); },              \
        nullptr,                                                                                          \
        [] { return facts_of(kernel<double>); },                                                          \
    }

extern const KernelTable train_table, solve_table, backward_table, train_team_table, solve_team_table, scores_table,
    select_table;

}  // namespace gpu
}  // namespace dash
