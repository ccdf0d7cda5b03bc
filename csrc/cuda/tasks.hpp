// Tasks of the operators of a model as dictionaries of NumPy arrays; csrc/python/calls.hpp checks what is in them.
#pragma once
#include "../python/calls.hpp"
#include "bindings.hpp"
#include "queue.hpp"

namespace dash {
namespace gpu {

using namespace arguments;

// The model of a task, of a size that the kernels can take: they count entries in 32 bits and hold indices in 16.
inline Given model_in(const py::dict& task) {
    const Given given = given_of(member(task, "weights"), member(task, "masks"));
    const auto [G, m] = given.sizes;
    if (G >= 65536 - 64 || m >= 65536 - 64) throw ArgumentError("genes and hidden units must number 1 to 65471");
    for (int i = 0; i < N_TENSORS; ++i)
        if (prunable(i) && !py::isinstance<py::tuple>(member(given.weights, kNames[i])) &&
            (G + kLanes) * (m + kHidden) > INT32_MAX)
            throw ArgumentError(std::string(kNames[i]) + " is too large for the GPU; hold it compressed");
    return given;
}

inline SolveOptions options_in(const py::dict& task) {
    const py::dict solver = dictionary(member(task, "solver"), "solver");
    return options_of(member(solver, "method"), member(solver, "rtol"), member(solver, "atol"), member(solver, "step"),
                      member(solver, "max_steps"));
}

inline GivenObjective objective_in(const py::dict& task) {
    return {member(task, "y0"), member(task, "y1"), member(task, "dt"), member(task, "tau"), member(task, "prior"),
            options_in(task)};
}

inline Choices choices_of(const py::handle& object) {
    const py::dict choices = dictionary(object, "choices");
    return {number(member(choices, "compress_below"), "compress_below", 0),
            integer(member(choices, "shared_bytes"), "shared_bytes", 0, INT32_MAX),
            integer(member(choices, "state_limit"), "state_limit", 0, kMostSteps),
            static_cast<int>(integer(member(choices, "team"), "team", -1, 1))};
}

// All tasks at the precision of the first: as<float> or as<double>(models with their tasks, choices).
struct GivenTask {
    py::dict task;
    Given given;
};

template <class F>
py::list with_models(const py::object& given, const py::object& choices, F as) {
    const Choices wish = choices_of(choices);
    std::vector<GivenTask> tasks;
    for (const auto& item : list_of(given, "tasks")) {
        const py::dict task = dictionary(item, "task");
        tasks.push_back({task, model_in(task)});
    }
    if (tasks.empty()) return py::list();
    return tasks[0].given.single ? as(float(), tasks, wish) : as(double(), tasks, wish);
}

}  // namespace gpu
}  // namespace dash
