// The device on the CPU: the kernels' source with HostBlock, host memory in place of device memory. For tests; slow.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "device.hpp"
#include "emulate.hpp"
#include "host_block.hpp"
#include "scores.hpp"
#include "select.hpp"
#include "solve.hpp"
#include "train.hpp"

namespace dash {
namespace gpu {

static Emulation settings;
Emulation& emulation() { return settings; }

int device_count() { return 1; }
void use_device(int) {}
int current_device() { return 0; }
int64_t shared_limit() { return settings.shared_bytes; }
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

template <class T>
int resident_blocks(Kernel kernel, int, int64_t) {
    return is_team(kernel) && !settings.cooperative ? 0 : settings.blocks;
}

template <class C>
static std::unique_ptr<C> fresh() {  // NaN or -1 throughout
    auto context = std::make_unique<C>();
    std::memset(static_cast<void*>(context.get()), 0xff, sizeof(C));
    return context;
}

template <class T>
void launch_team(const Launch<T>& work, int threads) {
    HostGrid grid(work.blocks, settings.seed);
    std::vector<int64_t> barriers(work.blocks);
    grid.run([&](int rank) {
        HostThreads pool(threads, settings.seed ? settings.seed + rank : 0);
        const HostTeam team{&pool, &grid, rank, work.blocks};
        const auto context = fresh<Context<T, kTeamTiles>>();
        for (int k = 0; k < work.count; ++k) {
            const int job = work.order[k];
            if (work.kernel == Kernel::kTrainTeam)
                train_epoch(team, context.get(), static_cast<const TrainView<T>*>(work.jobs) + job, work.memory,
                            nullptr, work.memory.scratch);
            else
                solve_tiles(team, context.get(), static_cast<const SolveView<T>*>(work.jobs) + job, work.memory,
                            nullptr, work.memory.scratch);
            team.barrier();
        }
        barriers[rank] = pool.barriers;
    });
    settings.barriers += *std::max_element(barriers.begin(), barriers.end());
}

template <class T>
void launch(const Launch<T>& work) {
    const int threads = settings.threads ? settings.threads : work.threads;
    if (is_team(work.kernel)) return launch_team(work, threads);
    const int64_t near_bytes = (work.memory.shared_bytes + 511) / 256 * 256;
    std::unique_ptr<char, void (*)(void*)> near(static_cast<char*>(std::aligned_alloc(256, near_bytes)), std::free);
    if (!near) throw OutOfMemory{near_bytes};
    for (int k = 0; k < work.count; ++k) {
        HostThreads pool(threads, settings.seed ? settings.seed + k : 0);
        const HostBlock block{&pool};
        std::memset(near.get(), 0xff, work.memory.shared_bytes);
        const auto context = fresh<Context<T, 1>>();
        char* far = work.memory.scratch + (k % work.blocks) * work.memory.scratch_bytes;
        const int job = work.order[k];
        if (work.kernel == Kernel::kTrain)
            train_epoch(block, context.get(), static_cast<const TrainView<T>*>(work.jobs) + job, work.memory,
                        near.get(), far);
        else if (work.kernel == Kernel::kSolve)
            solve_tiles(block, context.get(), static_cast<const SolveView<T>*>(work.jobs) + job, work.memory,
                        near.get(), far);
        else if (work.kernel == Kernel::kBackward)
            backward(block, context.get(), static_cast<const AdjointView<T>*>(work.jobs) + job, work.memory,
                     near.get(), far);
        else if (work.kernel == Kernel::kScores)
            score_branch(block, fresh<ScoreContext>().get(), static_cast<const ScoreView*>(work.jobs) + job,
                         work.memory, near.get(), far);
        else
            select_smallest(block, fresh<SelectContext>().get(), static_cast<const SelectView*>(work.jobs) + job);
        settings.barriers += pool.barriers;
        ++*work.next;
    }
}

template <class T>
KernelFacts kernel_facts(Kernel) {
    return {};
}

#define DASH_INSTANTIATE(T)                                  \
    template int resident_blocks<T>(Kernel, int, int64_t);   \
    template void launch<T>(const Launch<T>&);               \
    template KernelFacts kernel_facts<T>(Kernel);
DASH_INSTANTIATE(float)
DASH_INSTANTIATE(double)

}  // namespace gpu
}  // namespace dash
