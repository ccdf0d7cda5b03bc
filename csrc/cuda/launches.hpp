// Tasks of one kind, each with arrays of its own: views, launches, results. A launch takes as many as its share of memory
// holds.
#pragma once
#include "queue.hpp"

namespace dash {
namespace gpu {

// Of the arrays of one launch; tests see several launches.
#ifdef DASH_CUDA_EMULATION
constexpr int64_t kMostBytes = int64_t(1) << 18;
#else
constexpr int64_t kMostBytes = int64_t(1) << 30;
#endif

// Do all tasks with the kernel for such views. put(task, state, fixed, known) fills the arenas and returns the view,
// take(task, view, state) gives the results back; what lies in `state` is sent too when it is changed in place.
template <class View, class Task, class Put, class Take, class NeedOf>
void in_launches(std::vector<Task>& tasks, bool in_place, Put put, Take take, NeedOf need_of_task) {
    for (size_t first = 0, end; first < tasks.size(); first = end) {
        std::vector<View> views;
        Stage stage;
        Arena &state = stage.state, &fixed = stage.fixed;
        View* device_views = nullptr;
        size_t most = tasks.size();
        {
            const Timer timer(timings().host);
            stage.fill([&] {
                views.clear();
                std::map<const void*, const void*> known;
                for (end = first; end < most && (end == first || state.used() + fixed.used() < kMostBytes); ++end)
                    views.push_back(put(tasks[end], state, fixed, known));
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
            needs.push_back(need_of_task(tasks[k]));
        }
        run_tasks(kernel_of<View>(), nullptr, device_views, chosen, needs, 0);
        state.fetch();
        const Timer timer(timings().host);
        parallel_for(end - first, [&](size_t k) { take(tasks[first + k], views[k], state); });
    }
}

}  // namespace gpu
}  // namespace dash
