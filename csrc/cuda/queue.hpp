// Tasks in launches: what each needs, who works on it, in which order.
#pragma once
#include "context.hpp"
#include "form.hpp"

namespace dash {
namespace gpu {

// Choices of a launch; 0: as the device suggests. Results do not depend on shared_bytes and state_limit (docs/gpu.md).
struct Choices {
    double compress_below;  // share of active entries below which a matrix is compressed
    int64_t shared_bytes;   // most shared memory of a block
    int64_t state_limit;    // first try: iterations beyond the tape's capacity of which states are kept
    int team;               // models that all blocks work on together: -1 large ones, 0 none, 1 all
};

// Who works on a task: all blocks of a launch together, a block with a multiprocessor to itself, or one that shares it.
enum class Worker { kTeam, kLarge, kSmall };

// What one task needs, and how long it takes beside others.
struct Need {
    int64_t shared_bytes, global_bytes, work;
    Worker worker;
};

// A task whose weights fit half of the shared memory gets a small block; its states then lie where there is room.
template <class T>
Need need_of(const Params<T>& params, const ModelForm& form, const Method<T>& method, Purpose purpose,
             int64_t state_limit, int64_t shared_bytes, bool team, int64_t work) {
    constexpr int64_t kOwn = 4096;  // each block's own: the kernel's static part and what CUDA reserves
    if (team) {
        Context<T, kTeamTiles> context;
        const Needs found = place(context, params, form, method, purpose, state_limit, nullptr, 0, nullptr);
        return {0, found.global_bytes, work, Worker::kTeam};
    }
    for (const Worker worker : {Worker::kSmall, Worker::kLarge}) {
        Context<T, 1> context;
        const bool small = worker == Worker::kSmall;
        const int64_t most = small ? shared_bytes / 2 - kOwn : shared_bytes;
        const Needs found =
            place(context, params, form, method, purpose, state_limit, nullptr, most > 0 ? most : 0, nullptr);
        if (!small || found.global_weights == 0) return {found.shared_bytes, found.global_bytes, work, worker};
    }
    return {};
}

// Whether a team works on a model. Last bits depend on it, so that it is a function of the model's shape and form.
template <class T>
bool for_team(const Kernel& team, const Params<T>& params, const ModelPattern& pattern, const Choices& choices);

// Run the chosen tasks, the longest first, in launches of teams, of large and of small blocks; takes care of memory.
// `team` may be null where no task needs one.
void run_tasks(const Kernel& block, const Kernel* team, const void* tasks, std::vector<int> chosen,
              const std::vector<Need>& needs, int64_t state_limit);

}  // namespace gpu
}  // namespace dash
