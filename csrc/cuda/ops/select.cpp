// select_many of the modules: scores in, masks changed in place.
#include "select.hpp"

#include "../bindings.hpp"
#include "../launches.hpp"

namespace dash {
namespace gpu {

namespace {

using namespace arguments;

// A tensor of a run: the view with the caller's pointers.
struct HostSelect {
    SelectView view;
    double threshold;  // out
};

void select_pack(std::vector<HostSelect>& tasks) {
    in_launches<SelectView>(
        tasks, true,
        [](HostSelect& task, Arena& state, Arena& fixed, std::map<const void*, const void*>&) {
            SelectView view = task.view;
            double* host;
            view.score = fixed.put(view.score, view.size);
            view.active = state.put(view.active, view.size);
            view.threshold = state.room(1, &host);
            return view;
        },
        [](HostSelect& task, const SelectView& view, Arena& state) {
            std::memcpy(task.view.active, state.on_host(view.active), view.size);
            task.threshold = *state.on_host(view.threshold);
        },
        [](const HostSelect& task) { return Need{0, 0, task.view.size, Worker::kSmall}; });
}

// tasks: (scores, mask, how many); the masks are changed. Returns the thresholds.
py::list select(const py::object& given) {
    return guarded("select_many", [&](Extent& extent) {
        const py::list tasks = list_of(given, "tasks");
        Arrays arrays;
        std::vector<HostSelect> tensors;
        for (const auto& item : tasks) {
            const py::tuple task = tuple_of(item, 3, "task", "scores, mask, how many");
            const py::array mask = array_of(task[1], "mask");
            const Shape shape = shape_of(mask);
            const int64_t size = mask.size();
            if (size > kMostEntries) throw ArgumentError("a tensor has at most 2^30 scores");
            HostSelect tensor{};
            tensor.view.size = static_cast<int>(size);
            tensor.view.score = arrays.read<double>(task[0], shape, "scores");
            tensor.view.active = reinterpret_cast<uint8_t*>(arrays.write<bool>(mask, shape, "mask"));
            int64_t active = 0;
            for (int64_t i = 0; i < size; ++i) {
                active += tensor.view.active[i];
                if (tensor.view.active[i] && !std::isfinite(tensor.view.score[i]))
                    throw ArgumentError("score of active entry " + std::to_string(i) + " is not finite");
            }
            tensor.view.remove = static_cast<int>(integer(task[2], "how many", 1, active));
            tensors.push_back(tensor);
            extent.samples += size;
        }
        arrays.settle();
        alone([&] { select_pack(tensors); });
        py::list out;
        for (const HostSelect& tensor : tensors) out.append(tensor.threshold);
        return out;
    });
}

const Bind bind([](py::module_& module) { module.def("select_many", &select, py::arg("tasks")); });

}  // namespace

}  // namespace gpu
}  // namespace dash
