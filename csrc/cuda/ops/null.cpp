// null_many of the modules: arrays in, their copies out.
#include "../../core/null.hpp"

#include "../bindings.hpp"
#include "../launches.hpp"

namespace dash {
namespace gpu {

namespace {

using namespace arguments;

template <class T>
py::list null_as(const py::list& given) {
    return guarded("null_many", [&](Extent& extent) {
        Arrays arrays;
        std::vector<NullArgs<T>> tasks;
        py::list out;
        for (const auto& values : given) {
            const std::string name = "array " + std::to_string(tasks.size());
            const Shape shape = shape_of(array_of(values, name));
            py::array_t<T> to(std::vector<py::ssize_t>(shape.begin(), shape.end()));
            if (to.size() > kMostEntries) throw ArgumentError(name + " has more than 2^30 entries");
            tasks.push_back({to.size(), arrays.read<T>(values, shape, name), to.mutable_data()});
            out.append(to);
            extent.samples += to.size();
        }
        alone([&] {
            in_launches<NullArgs<T>>(
                tasks, false,
                [](NullArgs<T>& task, Arena& state, Arena& fixed, std::map<const void*, const void*>&) {
                    T* host;
                    return NullArgs<T>{task.size, fixed.put(task.from, task.size), state.room(task.size, &host)};
                },
                [](NullArgs<T>& task, const NullArgs<T>& view, Arena& state) {
                    std::copy_n(state.on_host(view.to), task.size, task.to);
                },
                [](const NullArgs<T>& task) { return Need{0, 0, task.size, Worker::kSmall}; });
        });
        return out;
    });
}

py::list null(const py::object& given) {
    const py::list arrays = list_of(given, "arrays");
    if (arrays.empty()) return py::list();
    return py::isinstance<py::array_t<float>>(array_of(arrays[0], "array 0")) ? null_as<float>(arrays)
                                                                           : null_as<double>(arrays);
}

const Bind bind([](py::module_& module) { module.def("null_many", &null, py::arg("arrays")); });

}  // namespace

}  // namespace gpu
}  // namespace dash
