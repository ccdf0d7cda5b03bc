// The frames of the kernels in the emulation: what kernel.cuh has for a GPU.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "emulate.hpp"
#include "host_block.hpp"

namespace dash {
namespace gpu {

template <class Kept>
std::unique_ptr<Kept> fresh() {  // NaN or -1 throughout
    auto kept = std::make_unique<Kept>();
    std::memset(static_cast<void*>(kept.get()), 0xff, sizeof(Kept));
    return kept;
}

template <class Operator>
void emulate_blocks(const Launch& work) {
    Emulation& settings = emulation();
    const int threads = settings.threads ? settings.threads : work.threads;
    const int64_t shared_bytes = (work.memory.shared_bytes + 511) / 256 * 256;
    std::unique_ptr<char, void (*)(void*)> shared(static_cast<char*>(std::aligned_alloc(256, shared_bytes)), std::free);
    if (!shared) throw OutOfMemory{shared_bytes};
    for (int k = 0; k < work.count; ++k) {
        HostThreads pool(threads, settings.seed ? settings.seed + k : 0);
        std::memset(shared.get(), 0xff, work.memory.shared_bytes);
        const auto kept = fresh<typename Operator::template Kept<HostBlock::kTiles>>();
        char* global = work.memory.scratch + (k % work.blocks) * work.memory.scratch_bytes;
        const auto* task = static_cast<const typename Operator::Task*>(work.tasks) + work.order[k];
        Operator::run(HostBlock{&pool}, kept.get(), task, work.memory, shared.get(), global);
        settings.barriers += pool.barriers;
        ++*work.next;
    }
}

template <class Operator>
void emulate_team(const Launch& work) {
    Emulation& settings = emulation();
    const int threads = settings.threads ? settings.threads : work.threads;
    HostGrid grid(work.blocks, settings.seed);
    std::vector<int64_t> barriers(work.blocks);
    grid.run([&](int rank) {
        HostThreads pool(threads, settings.seed ? settings.seed + rank : 0);
        const HostTeam team{&pool, &grid, rank, work.blocks};
        const auto kept = fresh<typename Operator::template Kept<HostTeam::kTiles>>();
        for (int k = 0; k < work.count; ++k) {
            Operator::run(team, kept.get(), static_cast<const typename Operator::Task*>(work.tasks) + work.order[k],
                          work.memory, nullptr, work.memory.scratch);
            team.barrier();
        }
        barriers[rank] = pool.barriers;
    });
    settings.barriers += *std::max_element(barriers.begin(), barriers.end());
}

inline int emulated_blocks(int, int64_t) { return emulation().blocks; }

template <class Operator>
Kernel make_block_kernel(const char* name) {
    return {name, false, Operator::kThreads, &emulate_blocks<Operator>, &emulated_blocks, [] { return KernelFacts{}; }};
}

template <class Operator>
Kernel make_team_kernel(const char* name) {
    return {name, true, Operator::kThreads, &emulate_team<Operator>, &emulated_blocks, [] { return KernelFacts{}; }};
}

}  // namespace gpu
}  // namespace dash
