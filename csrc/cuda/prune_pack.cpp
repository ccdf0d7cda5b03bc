// Scores and selections of many runs: views, launches, results. A launch takes as many jobs as its share of memory holds.
#include <algorithm>

#include "pack.hpp"
#include "prune_host.hpp"

namespace dash {
namespace gpu {

namespace {

// Of the arrays of one launch; tests see several launches.
#ifdef DASH_CUDA_EMULATION
constexpr int64_t kMostBytes = int64_t(1) << 18;
#else
constexpr int64_t kMostBytes = int64_t(1) << 30;
#endif

// `put` fills the arenas for a job, `take` gives its results back; what lies in `state` is sent too when it is changed in
// place.
template <class Job, class View, class Put, class Take, class NeedOf>
void in_launches(Kernel kernel, std::vector<Job>& jobs, bool in_place, Put put, Take take, NeedOf need_of_job) {
    for (size_t first = 0, end; first < jobs.size(); first = end) {
        std::vector<View> views;
        Stage stage;
        Arena &state = stage.state, &fixed = stage.fixed;
        View* device_views = nullptr;
        size_t most = jobs.size();
        {
            const Timer timer(timings().host);
            stage.fill([&] {
                views.clear();
                std::map<const void*, const void*> known;
                for (end = first; end < most && (end == first || state.used() + fixed.used() < kMostBytes); ++end)
                    views.push_back(put(jobs[end], state, fixed, known));
                device_views = fixed.put(views.data(), static_cast<int64_t>(views.size()));
                most = end;  // the second time as many
            });
        }
        if (in_place) state.send();
        fixed.send();
        std::vector<Need> needs;
        std::vector<int> chosen;
        for (size_t k = first; k < end; ++k) {
            chosen.push_back(static_cast<int>(k - first));
            needs.push_back(need_of_job(jobs[k]));
        }
        run_jobs<double>(kernel, device_views, chosen, needs, 0);
        state.fetch();
        const Timer timer(timings().host);
        parallel_for(end - first, [&](size_t k) { take(jobs[first + k], views[k], state); });
    }
}

}  // namespace

void score_pack(std::vector<HostScore>& jobs, const Choices& choices) {
    const int64_t shared = choices.shared_bytes ? choices.shared_bytes : shared_limit();
    in_launches<HostScore, ScoreView>(
        Kernel::kScores, jobs, false,
        [](HostScore& job, Arena& state, Arena& fixed, std::map<const void*, const void*>& known) {
            ScoreView view = job.view;
            const int64_t G = view.G, entries = G * view.m;
            double* host;
            view.new_omega = state.room(entries, &host), view.psi = state.room(entries, &host);
            view.numbers = state.room(kScoreNumbers, &host);
            for (const double** array : {&view.W, &view.U, &view.omega})
                if (*array) *array = fixed.put(*array, entries);
            if (view.v) view.v = fixed.put(view.v, G);
            for (SparseView* A : {&view.C, &view.P}) {
                if (!A->ptr) continue;
                const int64_t nnz = A->ptr[G];
                A->ptr = fixed.put_once(A->ptr, G + 1, known);
                A->index = fixed.put_once(A->index, nnz, known);
                A->value = fixed.put_once(A->value, nnz, known);
            }
            return view;
        },
        [](HostScore& job, const ScoreView& view, Arena& state) {
            const int64_t bytes = int64_t(view.G) * view.m * 8;
            std::memcpy(job.view.new_omega, state.on_host(view.new_omega), bytes);
            std::memcpy(job.view.psi, state.on_host(view.psi), bytes);
            std::memcpy(job.numbers, state.on_host(view.numbers), sizeof(job.numbers));
        },
        [shared](const HostScore& job) {
            constexpr int64_t kOwn = 4096;  // each block's own; two stand side by side
            ScoreContext context;
            const Needs found =
                place_scores(context, job.view, nullptr, std::max<int64_t>(shared / 2 - kOwn, 0), nullptr);
            return Need{found.near_bytes, found.far_bytes, int64_t(job.view.m) * job.view.m * job.view.G,
                        Worker::kSmall};
        });
}

void select_pack(std::vector<HostSelect>& jobs) {
    in_launches<HostSelect, SelectView>(
        Kernel::kSelect, jobs, true,
        [](HostSelect& job, Arena& state, Arena& fixed, std::map<const void*, const void*>&) {
            SelectView view = job.view;
            double* host;
            view.score = fixed.put(view.score, view.size);
            view.active = state.put(view.active, view.size);
            view.threshold = state.room(1, &host);
            return view;
        },
        [](HostSelect& job, const SelectView& view, Arena& state) {
            std::memcpy(job.view.active, state.on_host(view.active), view.size);
            job.threshold = *state.on_host(view.threshold);
        },
        [](const HostSelect& job) { return Need{0, 0, job.view.size, Worker::kSmall}; });
}

}  // namespace gpu
}  // namespace dash
