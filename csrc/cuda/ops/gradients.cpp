// gradients_many of the modules: loss and gradients of one batch of each of many runs, by the kernel of train_epoch.
#include <deque>

#include "../tasks.hpp"
#include "train_pack.hpp"

namespace dash {
namespace gpu {

namespace {

// A batch as an epoch that has no other.
template <class T>
struct Only {
    GradientCall<T> call;
    int64_t ptr[2];

    Only(Arrays& arrays, const GivenTask& task)
        : call(arrays, task.given, objective_in(task.task), member(task.task, "index")), ptr{0, call.args.B} {}

    TrainArgs<T> epoch() {
        TrainArgs<T> epoch{};
        epoch.params = call.args.params, epoch.objective = call.args.objective;
        epoch.n_batches = 1, epoch.batch_ptr = ptr, epoch.batch_index = call.args.index;
        epoch.loss = &call.args.loss;
        return epoch;
    }
};

// For each task (loss of the data, of the prior, gradients by name, evaluations, status).
py::list gradients(const py::object& given, const py::object& choices) {
    return with_models(given, choices, [](auto one, const std::vector<GivenTask>& tasks, const Choices& wish) {
        typedef decltype(one) T;
        return guarded("gradients_many", [&](Extent& extent) {
            Arrays arrays;
            std::deque<Only<T>> batches;
            std::vector<TrainArgs<T>> runs;
            std::vector<GradientArgs<T>*> args;
            for (const GivenTask& task : tasks) {
                extent = {task.given.sizes.G, task.given.sizes.m, int64_t(runs.size() + 1)};
                batches.emplace_back(arrays, task);
                runs.push_back(batches.back().epoch());
                args.push_back(&batches.back().call.args);
            }
            alone([&] { train_pack<T>(runs, args, wish); });
            py::list out;
            for (const Only<T>& batch : batches) out.append(batch.call.results());
            return out;
        });
    });
}

const Bind bind([](py::module_& module) {
    module.def("gradients_many", &gradients, py::arg("tasks"), py::arg("choices"));
});

}  // namespace

}  // namespace gpu
}  // namespace dash
