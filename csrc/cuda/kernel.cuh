// The frames of the kernels on a GPU. Blocks stay, take tasks from a queue until it is empty, and keep their context in
// shared memory; the blocks of a team do all tasks of the queue together.
#pragma once
#include "check.hpp"
#include "device.hpp"

namespace dash {
namespace gpu {

template <class Operator>
__global__ void __launch_bounds__(Operator::kThreads, Operator::kBeside)
    block_kernel(const __grid_constant__ Launch work) {
    typedef typename Operator::template Kept<DeviceBlock::kTiles> Kept;
    extern __shared__ __align__(16) char shared[];
    __shared__ __align__(16) char context_memory[sizeof(Kept)];
    __shared__ int ticket;
    auto* context = reinterpret_cast<Kept*>(context_memory);
    for (;;) {
        __syncthreads();
        if (threadIdx.x == 0) ticket = atomicAdd(work.next, 1);
        __syncthreads();
        if (ticket >= work.count) return;
        char* global = work.memory.scratch + blockIdx.x * work.memory.scratch_bytes;
        Operator::run(DeviceBlock{}, context,
                      static_cast<const typename Operator::Task*>(work.tasks) + work.order[ticket], work.memory, shared,
                      global);
    }
}

template <class Operator>
__global__ void __launch_bounds__(Operator::kThreads, 1) team_kernel(const __grid_constant__ Launch work) {
    typedef typename Operator::template Kept<DeviceTeam::kTiles> Kept;
    __shared__ __align__(16) char context_memory[sizeof(Kept)];
    auto* context = reinterpret_cast<Kept*>(context_memory);
    __shared__ int number;
    if (threadIdx.x == 0) number = 0;
    __syncthreads();
    while (number < work.count) {
        Operator::run(DeviceTeam{}, context,
                      static_cast<const typename Operator::Task*>(work.tasks) + work.order[number], work.memory, nullptr,
                      work.memory.scratch);
        DeviceTeam{}.barrier();  // the next task uses the same memory
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

template <class K>
void launch_blocks(K kernel, const Launch& work) {
    const int bytes = static_cast<int>(work.memory.shared_bytes);
    prepare(kernel, bytes);
    kernel<<<work.blocks, work.threads, bytes>>>(work);
    check(cudaGetLastError(), "launch");
    check(cudaDeviceSynchronize(), "kernel");
}

// All blocks at once. A team has nothing but its context in shared memory, L1 gets the rest. Where others hold a part of
// the device (MPS), fewer blocks do the same.
template <class K>
void launch_team(K kernel, const Launch& work) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxL1),
          "shared memory");
    Launch argument = work;
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

template <class Operator>
Kernel make_block_kernel(const char* name) {
    return {name, false, Operator::kThreads, [](const Launch& work) { launch_blocks(block_kernel<Operator>, work); },
            [](int threads, int64_t bytes) { return resident(block_kernel<Operator>, threads, bytes); },
            [] { return facts_of(block_kernel<Operator>); }};
}

template <class Operator>
Kernel make_team_kernel(const char* name) {
    return {name, true, Operator::kThreads, [](const Launch& work) { launch_team(team_kernel<Operator>, work); },
            [](int threads, int64_t bytes) { return resident(team_kernel<Operator>, threads, bytes); },
            [] { return facts_of(team_kernel<Operator>); }};
}

}  // namespace gpu
}  // namespace dash
