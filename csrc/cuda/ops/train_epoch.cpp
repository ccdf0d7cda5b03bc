// train_many of the modules: an epoch of many runs, or gradients of one batch of each. Views, launches, results.
#include "train_pack.hpp"

#include <algorithm>

#include "../../core/observed.hpp"
#include "../tasks.hpp"

namespace dash {
namespace gpu {

namespace {

// Iterations beyond the tape's capacity; a run that needs more is done again from the batch where it stopped.
constexpr int64_t kStateLimit = 64, kMostStates = int64_t(1) << 20;

template <class T>
class TrainPack {
  public:
    TrainPack(std::vector<TrainArgs<T>>& runs, const std::vector<GradientArgs<T>*>& batches, const Choices& choices)
        : runs_(runs), batches_(batches), choices_(choices) {
        const Timer timer(timings().host);
        patterns_.resize(runs_.size());
        observed_.resize(runs_.size());
        parallel_for(runs_.size(), [&](size_t k) {
            const TrainArgs<T>& run = runs_[k];
            patterns_[k] = ModelPattern(run.params, choices.compress_below);
            for (int64_t b = 0; b < run.n_batches; ++b)
                observed_[k].push_back(observed_values(run.objective.y1, run.params.G,
                                                       run.batch_index + run.batch_ptr[b],
                                                       run.batch_ptr[b + 1] - run.batch_ptr[b]));
        });
        stage_.fill([this] { put(); });
    }

    void epoch() {
        stage_.state.send(), stage_.fixed.send();
        const int64_t shared = choices_.shared_bytes ? choices_.shared_bytes : shared_limit(kernel_of<TrainView<T>>());
        std::vector<int> left;
        std::vector<char> team(runs_.size());
        for (size_t k = 0; k < runs_.size(); ++k) {
            left.push_back(static_cast<int>(k));
            team[k] = for_team(team_kernel_of<TrainView<T>>(), runs_[k].params, patterns_[k], choices_);
        }
        int64_t limit = choices_.state_limit ? choices_.state_limit : kStateLimit;
        for (; !left.empty(); limit *= 4) {
            std::vector<Need> needs(runs_.size());
            for (const int k : left)
                needs[k] = need_of(views_[k].args.params, views_[k].form, views_[k].method, kForTraining, limit, shared,
                                   team[k], work(k));
            run_tasks(kernel_of<TrainView<T>>(), &team_kernel_of<TrainView<T>>(), device_views_, left, needs, limit);
            to_host(stage_.state.on_host(outcomes_), outcomes_, runs_.size() * sizeof(Outcome));
            std::vector<int> again;
            for (const int k : left)
                if (outcome(k).status == kTapeFull && limit < kMostStates) again.push_back(k);
            for (const int k : again) outcome(k).status = kSolved;
            if (!again.empty()) to_device(outcomes_, stage_.state.on_host(outcomes_), runs_.size() * sizeof(Outcome));
            left = again;
        }
    }

    void fetch() {
        stage_.state.fetch();
        const Timer timer(timings().host);
        parallel_for(runs_.size(), [&](size_t k) {
            TrainArgs<T>& run = runs_[k];
            const Outcome& out = outcome(k);
            stage_.copy_back(views_[k].args.loss, run.n_batches, run.loss);
            run.step = out.step, run.evaluations = out.evaluations;
            run.status = out.status == kTapeFull ? int64_t(kMaxSteps) : out.status;
            batches_.empty() ? fetch_weights(k) : fetch_gradients(k, *batches_[k]);
        });
    }

  private:
    void fetch_weights(size_t k) {
        TrainArgs<T>& run = runs_[k];
        const TrainArgs<T>& found = views_[k].args;
        const Arena& state = stage_.state;
        for (int i = 0; i < N_TENSORS; ++i) {
            const Pattern& s = patterns_[k].tensor[i];
            take_values(s, state.on_host(found.weight[i]), run.weight[i]);
            take_values(s, state.on_host(found.moment1[i]), run.moment1[i]);
            take_values(s, state.on_host(found.moment2[i]), run.moment2[i]);
        }
    }

    // A batch that failed has none.
    void fetch_gradients(size_t k, GradientArgs<T>& batch) {
        const TrainView<T>& view = views_[k];
        batch.status = runs_[k].status, batch.evaluations = runs_[k].evaluations;
        const bool solved = batch.status == kSolved;
        batch.prior = solved ? *stage_.state.on_host(view.prior) : 0;
        for (int i = 0; i < N_TENSORS; ++i) {
            const Pattern& s = patterns_[k].tensor[i];
            if (solved)
                take_values(s, stage_.state.on_host(view.grad[i]), batch.grad[i]);
            else
                std::memset(batch.grad[i], 0, s.values * sizeof(T));
        }
    }

    void put() {
        Arena &state = stage_.state, &fixed = stage_.fixed;
        std::map<const void*, const void*> known;
        views_.clear();
        Outcome* outcomes;
        outcomes_ = state.room(static_cast<int64_t>(runs_.size()), &outcomes);
        for (size_t k = 0; k < runs_.size(); ++k) {
            const TrainArgs<T>& run = runs_[k];
            const int64_t G = run.params.G, N = run.objective.N;
            TrainView<T> view{};
            view.args = run;
            view.args.params = put_params(run.params, patterns_[k], state, fixed, view.form);
            for (int i = 0; i < N_TENSORS; ++i) {
                const Pattern& s = patterns_[k].tensor[i];
                T* host;
                view.args.weight[i] = const_cast<T*>(view.args.params.tensor[i]);
                view.args.moment1[i] = put_values(s, run.moment1[i], state);
                view.args.moment2[i] = put_values(s, run.moment2[i], state);
                if (!batches_.empty()) view.grad[i] = state.room(s.entries(), &host);
            }
            double* prior_host;
            if (!batches_.empty()) view.prior = state.room(1, &prior_host);
            view.method = Method<T>::of(run.objective.options.method);
            view.args.batch_ptr = fixed.put(run.batch_ptr, run.n_batches + 1);
            view.args.batch_index = fixed.put(run.batch_index, run.batch_ptr[run.n_batches]);
            Objective<T>& objective = view.args.objective;
            objective.y0 = fixed.put_once(objective.y0, N * G, known);
            objective.y1 = fixed.put_once(objective.y1, N * G, known);
            objective.dt = fixed.put_once(objective.dt, N, known);
            view.observed = fixed.put(observed_[k].data(), run.n_batches);
            PriorLossArgs<T>& prior = objective.prior;
            if (prior.points > 0) {
                const int64_t entries = prior.ptr[G];
                prior.states = fixed.put_once(prior.states, prior.points * G, known);
                prior.ptr = fixed.put_once(prior.ptr, G + 1, known);
                prior.index = fixed.put_once(prior.index, entries, known);
                prior.value = fixed.put_once(prior.value, entries, known);
            }
            view.args.loss = state.put(run.loss, run.n_batches);
            view.outcome = outcomes_ + k;
            if (outcomes) outcomes[k] = {0, run.step, 0, kSolved};
            views_.push_back(view);
        }
        device_views_ = fixed.put(views_.data(), static_cast<int64_t>(views_.size()));
    }

    Outcome& outcome(size_t k) { return stage_.state.on_host(outcomes_)[k]; }

    // For the order of the queue: pairs times entries.
    int64_t work(int k) const {
        int64_t entries = 0;
        for (int i = 0; i < N_TENSORS; ++i) {
            const Pattern& s = patterns_[k].tensor[i];
            if (is_matrix(i)) entries += s.compressed ? 4 * s.entries() : s.values;
        }
        return entries * runs_[k].batch_ptr[runs_[k].n_batches];
    }

    std::vector<TrainArgs<T>>& runs_;
    const std::vector<GradientArgs<T>*>& batches_;
    Choices choices_;
    std::vector<ModelPattern> patterns_;
    std::vector<std::vector<int64_t>> observed_;  // of each run: end values by batch
    std::vector<TrainView<T>> views_;
    TrainView<T>* device_views_ = nullptr;
    Outcome* outcomes_ = nullptr;
    Stage stage_;
};

}  // namespace

template <class T>
void train_pack(std::vector<TrainArgs<T>>& runs, const std::vector<GradientArgs<T>*>& batches, const Choices& choices) {
    if (runs.empty()) return;
    TrainPack<T> pack(runs, batches, choices);
    pack.epoch();
    pack.fetch();
}

template void train_pack<float>(std::vector<TrainArgs<float>>&, const std::vector<GradientArgs<float>*>&, const Choices&);
template void train_pack<double>(std::vector<TrainArgs<double>>&, const std::vector<GradientArgs<double>*>&,
                                 const Choices&);

namespace {

GivenEpoch epoch_in(const py::dict& task) {
    return {member(task, "moment1"), member(task, "moment2"), member(task, "step"), member(task, "batch_ptr"),
            member(task, "batch_index"), member(task, "loss"), member(task, "lr"), member(task, "beta1"),
            member(task, "beta2"), member(task, "eps"), objective_in(task)};
}

// For each task (Adam steps, evaluations, status).
py::list train(const py::object& given, const py::object& choices) {
    return with_models(given, choices, [](auto one, const std::vector<GivenTask>& tasks, const Choices& wish) {
        typedef decltype(one) T;
        return guarded("train_many", [&](Extent& extent) {
            Arrays arrays;
            std::vector<TrainArgs<T>> runs;
            for (const GivenTask& task : tasks) {
                extent = {task.given.sizes.G, task.given.sizes.m, int64_t(runs.size() + 1)};
                runs.push_back(train_args<T>(arrays, task.given, epoch_in(task.task)));
            }
            arrays.settle();
            alone([&] { train_pack<T>(runs, {}, wish); });
            py::list out;
            for (const auto& run : runs) out.append(py::make_tuple(run.step, run.evaluations, run.status));
            return out;
        });
    });
}

const Bind bind([](py::module_& module) {
    module.def("train_many", &train, py::arg("tasks"), py::arg("choices"));
});

}  // namespace

}  // namespace gpu
}  // namespace dash
