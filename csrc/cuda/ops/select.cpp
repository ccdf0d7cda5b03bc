// select_pack of the modules: scores in, masks changed in place.
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

void select_pack(std::vector<HostSelect>& jobs) {
    in_launches<SelectView>(
        jobs, true,
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

// jobs: (scores, mask, how many); the masks are changed. Returns the thresholds.
py::list select(const py::object& given) {
    return guarded("select_pack", [&](Extent& extent) {
        const py::list jobs = list_of(given, "jobs");
        Arrays arrays;
        std::vector<HostSelect> tensors;
        for (const auto& item : jobs) {
            const py::tuple job = tuple_of(item, 3, "job", "scores, mask, how many");
            const py::array mask = array_of(job[1], "mask");
            const Shape shape = shape_of(mask);
            const int64_t size = mask.size();
            if (size > kMostEntries) throw ArgumentError("a tensor has at most 2^30 scores");
            HostSelect tensor{};
            tensor.view.size = static_cast<int>(size);
            tensor.view.score = arrays.read<double>(job[0], shape, "scores");
            tensor.view.active = reinterpret_cast<uint8_t*>(arrays.write<bool>(mask, shape, "mask"));
            int64_t active = 0;
            for (int64_t i = 0; i < size; ++i) {
                active += tensor.view.active[i];
                if (tensor.view.active[i] && !std::isfinite(tensor.view.score[i]))
                    throw ArgumentError("score of active entry " + std::to_string(i) + " is not finite");
            }
            tensor.view.remove = static_cast<int>(integer(job[2], "how many", 1, active));
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

const Bind bind([](py::module_& module) { module.def("select_pack", &select, py::arg("jobs")); });

}  // namespace

}  // namespace gpu
}  // namespace dash
