#include "queue.hpp"

#include <algorithm>

namespace dash {
namespace gpu {

template <class T>
bool for_team(const Kernel& team, const Params<T>& params, const ModelPattern& pattern, const Choices& choices) {
    // What an evaluation of four samples reads and writes. A block gets it through one multiprocessor's path to L2, but
    // as many runs go side by side as there are multiprocessors; a team waits at its barriers (docs/gpu.md).
    constexpr int64_t kAtLeast = int64_t(8) << 20;
    const int genes = padded_genes(static_cast<int>(params.G)), hidden = padded_hidden(static_cast<int>(params.m));
    int64_t bytes = slot_size(genes, hidden) * 2 * int64_t(sizeof(Four<T>));
    for (int i = 0; i < N_TENSORS; ++i) {
        const Pattern& s = pattern.tensor[i];
        if (!is_matrix(i)) continue;
        bytes += s.compressed ? static_cast<int64_t>(s.at.size()) * int64_t(2 * sizeof(T) + 2 * sizeof(uint16_t))
                              : int64_t(genes) * hidden * int64_t(sizeof(T));
    }
    const bool wanted = choices.team < 0 ? bytes >= kAtLeast : choices.team > 0;
    return wanted && resident_blocks(team, team.threads, 0) > 0;
}

void run_tasks(const Kernel& block, const Kernel* team, const void* tasks, std::vector<int> chosen,
              const std::vector<Need>& needs, int64_t state_limit) {
    std::stable_sort(chosen.begin(), chosen.end(), [&](int a, int b) { return needs[a].work > needs[b].work; });
    for (const Worker worker : {Worker::kTeam, Worker::kLarge, Worker::kSmall}) {
        std::vector<int32_t> order;
        Need most{};
        for (const int task : chosen) {
            const Need& need = needs[task];
            if (need.worker != worker) continue;
            order.push_back(task);
            most.shared_bytes = std::max(most.shared_bytes, need.shared_bytes);
            most.global_bytes = std::max(most.global_bytes, need.global_bytes);
        }
        if (order.empty()) continue;
        const bool together = worker == Worker::kTeam;
        const Kernel& kernel = together ? *team : block;
        const int count = static_cast<int>(order.size());
        const int threads = worker == Worker::kSmall ? kSmallThreads : kernel.threads;
        const int resident = resident_blocks(kernel, threads, most.shared_bytes);
        int blocks = together ? resident : std::min(count, resident);
        int stretches = together ? 1 : blocks;  // of working memory
        const int64_t queue_bytes = (int64_t(count) * 4 + 255) / 256 * 256 + 256;
        const int64_t global_bytes = (most.global_bytes + 255) / 256 * 256;
        char* scratch = nullptr;
        for (; !scratch; blocks = stretches /= 2) {
            try {
                scratch = pool().device(Pool::kScratch, queue_bytes + stretches * global_bytes);
            } catch (const DeviceError& error) {
                if (error.kind != DeviceError::kMemory || stretches == 1) throw;
                continue;
            }
            break;
        }
        std::vector<char> queue(queue_bytes, 0);
        std::memcpy(queue.data() + 256, order.data(), order.size() * 4);
        to_device(scratch, queue.data(), queue_bytes);
        const Memory memory{most.shared_bytes, scratch + queue_bytes, global_bytes, state_limit};
        const Launch work{tasks, reinterpret_cast<int32_t*>(scratch + 256), count, reinterpret_cast<int*>(scratch),
                          blocks, threads, memory};
        const Timer timer(timings().kernel);
        kernel.launch(work);
    }
}

template bool for_team<float>(const Kernel&, const Params<float>&, const ModelPattern&, const Choices&);
template bool for_team<double>(const Kernel&, const Params<double>&, const ModelPattern&, const Choices&);

}  // namespace gpu
}  // namespace dash
