// Jobs of the operators of a model as dictionaries of NumPy arrays; csrc/python/calls.hpp checks what is in them.
#pragma once
#include "../python/calls.hpp"
#include "bindings.hpp"
#include "pack.hpp"

namespace dash {
namespace gpu {

using namespace arguments;

// The model of a job, of a size that the kernels can take: they count entries in 32 bits and hold indices in 16.
inline Given model_in(const py::dict& job) {
    const Given given = given_of(member(job, "weights"), member(job, "masks"));
    const auto [G, m] = given.sizes;
    if (G >= 65536 - 64 || m >= 65536 - 64) throw ArgumentError("genes and hidden units must number 1 to 65471");
    for (int i = 0; i < N_TENSORS; ++i)
        if (prunable(i) && !py::isinstance<py::tuple>(member(given.weights, kNames[i])) &&
            (G + kLanes) * (m + kHidden) > INT32_MAX)
            throw ArgumentError(std::string(kNames[i]) + " is too large for the GPU; hold it compressed");
    return given;
}

inline SolveOptions options_in(const py::dict& job) {
    const py::dict solver = dictionary(member(job, "solver"), "solver");
    return options_of(member(solver, "method"), member(solver, "rtol"), member(solver, "atol"), member(solver, "step"),
                      member(solver, "max_steps"));
}

inline GivenObjective objective_in(const py::dict& job) {
    return {member(job, "y0"), member(job, "y1"), member(job, "dt"), member(job, "tau"), member(job, "prior"),
            options_in(job)};
}

inline Choices choices_of(const py::handle& object) {
    const py::dict choices = dictionary(object, "choices");
    return {number(member(choices, "compress_below"), "compress_below", 0),
            integer(member(choices, "shared_bytes"), "shared_bytes", 0, INT32_MAX),
            integer(member(choices, "state_limit"), "state_limit", 0, kMostSteps),
            static_cast<int>(integer(member(choices, "team"), "team", -1, 1))};
}

// All jobs at the precision of the first: as<float> or as<double>(models with their jobs, choices).
struct GivenJob {
    py::dict job;
    Given given;
};

template <class F>
py::list with_models(const py::object& given, const py::object& choices, F as) {
    const Choices wish = choices_of(choices);
    std::vector<GivenJob> jobs;
    for (const auto& item : list_of(given, "jobs")) {
        const py::dict job = dictionary(item, "job");
        jobs.push_back({job, model_in(job)});
    }
    if (jobs.empty()) return py::list();
    return jobs[0].given.single ? as(float(), jobs, wish) : as(double(), jobs, wish);
}

}  // namespace gpu
}  // namespace dash
