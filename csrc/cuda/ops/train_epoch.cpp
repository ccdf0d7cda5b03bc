// train_pack of the modules: an epoch of many runs, or gradients of one batch of each. Arrays, views, launches, results.
#include <algorithm>

#include "../../core/observed.hpp"
#include "../jobs.hpp"
#include "../pack.hpp"

namespace dash {
namespace gpu {

namespace {

// Iterations beyond the tape's capacity; a run that needs more is done again from the batch where it stopped.
constexpr int64_t kStateLimit = 64, kMostStates = int64_t(1) << 20;

template <class T>
class TrainPack {
  public:
    TrainPack(std::vector<HostRun<T>>& runs, const Choices& choices) : runs_(runs), choices_(choices) {
        const Timer timer(timings().host);
        patterns_.resize(runs_.size());
        observed_.resize(runs_.size());
        parallel_for(runs_.size(), [&](size_t k) {
            const HostRun<T>& run = runs_[k];
            patterns_[k] = ModelPattern<T>(run.model, choices.compress_below);
            for (int64_t b = 0; b < run.n_batches; ++b)
                observed_[k].push_back(observed_values(run.objective.y1, run.model.G, run.batch_index + run.batch_ptr[b],
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
            team[k] = for_team(team_kernel_of<TrainView<T>>(), runs_[k].model, patterns_[k], choices_);
        }
        int64_t limit = choices_.state_limit ? choices_.state_limit : kStateLimit;
        for (; !left.empty(); limit *= 4) {
            std::vector<Need> needs(runs_.size());
            for (const int k : left)
                needs[k] = need_of(views_[k].model, views_[k].method, kForTraining, limit, shared, team[k], work(k));
            run_jobs(kernel_of<TrainView<T>>(), &team_kernel_of<TrainView<T>>(), device_views_, left, needs, limit);
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
            HostRun<T>& run = runs_[k];
            const TrainView<T>& view = views_[k];
            const Outcome& out = outcome(k);
            run.grad[V] ? fetch_gradients(k, out.status == kSolved) : fetch_weights(k);
            stage_.copy_back(view.loss, run.n_batches, run.loss);
            run.step = out.step, run.evaluations = out.evaluations;
            run.status = out.status == kTapeFull ? int64_t(kMaxSteps) : out.status;
        });
    }

  private:
    void fetch_weights(size_t k) {
        HostRun<T>& run = runs_[k];
        const TrainView<T>& view = views_[k];
        for (int i = 0; i < 4; ++i) {
            const MatrixView<T>& A = i < 2 ? view.model.W[i] : view.model.U[i - 2];
            const Pattern& s = patterns_[k].matrix[i];
            take_values(s, stage_.state.on_host(A.value), run.model.matrix[i].value);
            take_values(s, stage_.state.on_host(A.moment1), run.model.matrix[i].moment1);
            take_values(s, stage_.state.on_host(A.moment2), run.model.matrix[i].moment2);
        }
        for (int i = 0; i < 2; ++i) {
            stage_.copy_back(view.model.b[i], run.model.m, run.model.b[i]);
            stage_.copy_back(view.b_moment1[i], run.model.m, run.b_moment1[i]);
            stage_.copy_back(view.b_moment2[i], run.model.m, run.b_moment2[i]);
        }
        stage_.copy_back(view.model.v, run.model.G, run.model.v);
        stage_.copy_back(view.v_moment1, run.model.G, run.v_moment1);
        stage_.copy_back(view.v_moment2, run.model.G, run.v_moment2);
    }

    // Zeros where the batch was not solved.
    void fetch_gradients(size_t k, bool solved) {
        HostRun<T>& run = runs_[k];
        const GradientView<T>& grad = views_[k].grad;
        for (int i = 0; i < 2; ++i) {
            take_gradient(patterns_[k].matrix[i], solved ? grad.W[i] : nullptr, run.grad[i ? W_PRODS : W_SUMS]);
            take_gradient(patterns_[k].matrix[2 + i], solved ? grad.U[i] : nullptr, run.grad[i ? U_PRODS : U_SUMS]);
            take_vector(solved ? grad.b[i] : nullptr, run.model.m, run.grad[i ? B_PRODS : B_SUMS]);
        }
        take_vector(solved ? grad.v : nullptr, run.model.G, run.grad[V]);
        run.prior_loss = solved ? *stage_.state.on_host(views_[k].prior_loss) : 0;
    }
    void take_gradient(const Pattern& s, const T* device, T* to) {
        if (device)
            take_values(s, stage_.state.on_host(device), to);
        else
            std::memset(to, 0, s.values * sizeof(T));
    }
    void take_vector(const T* device, int64_t n, T* to) {
        if (device)
            stage_.copy_back(device, n, to);
        else
            std::memset(to, 0, n * sizeof(T));
    }

    void put_moments(const HostRun<T>& run, TrainView<T>& view) {
        Arena& state = stage_.state;
        const int64_t G = run.model.G, m = run.model.m;
        for (int i = 0; i < 2; ++i) {
            view.b_moment1[i] = state.put(run.b_moment1[i], m);
            view.b_moment2[i] = state.put(run.b_moment2[i], m);
        }
        view.v_moment1 = state.put(run.v_moment1, G), view.v_moment2 = state.put(run.v_moment2, G);
    }

    void put_gradients(const HostRun<T>& run, const ModelPattern<T>& s, TrainView<T>& view) {
        Arena& state = stage_.state;
        T* host;
        double* prior_loss;
        for (int i = 0; i < 2; ++i) {
            view.grad.W[i] = state.room(s.matrix[i].entries(), &host);
            view.grad.U[i] = state.room(s.matrix[2 + i].entries(), &host);
            view.grad.b[i] = state.room(run.model.m, &host);
        }
        view.grad.v = state.room(run.model.G, &host);
        view.prior_loss = state.room(1, &prior_loss);
    }

    void put() {
        Arena &state = stage_.state, &fixed = stage_.fixed;
        std::map<const void*, const void*> known;
        views_.clear();
        Outcome* outcomes;
        outcomes_ = state.room(static_cast<int64_t>(runs_.size()), &outcomes);
        for (size_t k = 0; k < runs_.size(); ++k) {
            const HostRun<T>& run = runs_[k];
            const int64_t G = run.model.G;
            TrainView<T> view{};
            view.model = put_model(run.model, patterns_[k], state, fixed);
            run.grad[V] ? put_gradients(run, patterns_[k], view) : put_moments(run, view);
            const Objective<T>& objective = run.objective;
            view.method = Method<T>::of(objective.options.method);
            view.n_batches = run.n_batches;
            view.batch_ptr = fixed.put(run.batch_ptr, run.n_batches + 1);
            view.batch_index = fixed.put(run.batch_index, run.batch_ptr[run.n_batches]);
            view.objective = objective;
            view.objective.y0 = fixed.put_once(objective.y0, run.N * G, known);
            view.objective.y1 = fixed.put_once(objective.y1, run.N * G, known);
            view.objective.dt = fixed.put_once(objective.dt, run.N, known);
            view.observed = fixed.put(observed_[k].data(), run.n_batches);
            for (int i = 0; i < N_TENSORS; ++i) view.lr[i] = run.lr[i];
            if (objective.prior.points > 0) {
                PriorLossArgs<T>& prior = view.objective.prior;
                const int64_t entries = prior.ptr[G];
                prior.states = fixed.put_once(prior.states, prior.points * G, known);
                prior.ptr = fixed.put_once(prior.ptr, G + 1, known);
                prior.index = fixed.put_once(prior.index, entries, known);
                prior.value = fixed.put_once(prior.value, entries, known);
            }
            view.beta1 = run.beta1, view.beta2 = run.beta2, view.eps = run.eps;
            view.loss = state.put(run.loss, run.n_batches);
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
        for (const Pattern& s : patterns_[k].matrix)
            entries += s.compressed ? 4 * s.entries() : s.values;
        return entries * runs_[k].batch_ptr[runs_[k].n_batches];
    }

    std::vector<HostRun<T>>& runs_;
    Choices choices_;
    std::vector<ModelPattern<T>> patterns_;
    std::vector<std::vector<int64_t>> observed_;  // of each run: end values by batch
    std::vector<TrainView<T>> views_;
    TrainView<T>* device_views_ = nullptr;
    Outcome* outcomes_ = nullptr;
    Stage stage_;
};

}  // namespace

template <class T>
void train_pack(std::vector<HostRun<T>>& runs, const Choices& choices) {
    if (runs.empty()) return;
    TrainPack<T> pack(runs, choices);
    pack.epoch();
    pack.fetch();
}

template void train_pack<float>(std::vector<HostRun<float>>&, const Choices&);
template void train_pack<double>(std::vector<HostRun<double>>&, const Choices&);

namespace {

template <class T>
HostRun<T> run_of(Arrays& arrays, const py::dict& job) {
    const py::dict moment1 = dictionary(member(job, "moment1"), "moment1"),
                   moment2 = dictionary(member(job, "moment2"), "moment2");
    const Checked<T> checked = model_of<T>(arrays, job, true);
    HostRun<T> run{};
    run.model = checked.model;
    const int64_t G = run.model.G, m = run.model.m;
    auto moment = [&](const py::dict& moments, const char* kind, const char* name, const Shape& shape) {
        return arrays.write<T>(member(moments, name), shape, std::string(kind) + " of " + name);
    };
    for (int i = 0; i < 4; ++i) {
        const char* name = kNames[kMatrices[i]];
        run.model.matrix[i].moment1 = moment(moment1, "moment1", name, checked.shape[i]);
        run.model.matrix[i].moment2 = moment(moment2, "moment2", name, checked.shape[i]);
    }
    for (int k = 0; k < 2; ++k) {
        const char* name = k ? "b_prods" : "b_sums";
        run.b_moment1[k] = moment(moment1, "moment1", name, {m});
        run.b_moment2[k] = moment(moment2, "moment2", name, {m});
    }
    run.v_moment1 = moment(moment1, "moment1", "v", {G}), run.v_moment2 = moment(moment2, "moment2", "v", {G});
    run.step = integer(member(job, "step"), "step", 0, int64_t(1) << 53);
    run.objective = objective_in<T>(arrays, job, G);
    run.N = length_of(member(job, "dt"), "dt");
    const Batches batches = batches_of(arrays, member(job, "batch_ptr"), member(job, "batch_index"), run.N);
    run.n_batches = batches.count, run.batch_ptr = batches.ptr, run.batch_index = batches.index;
    const auto lr = numbers<N_TENSORS>(member(job, "lr"), "lr", 0);
    for (int i = 0; i < N_TENSORS; ++i) run.lr[i] = lr[i];
    run.beta1 = number(member(job, "beta1"), "beta1", 0, kBelowOne);
    run.beta2 = number(member(job, "beta2"), "beta2", 0, kBelowOne);
    run.eps = number(member(job, "eps"), "eps", 0, HUGE_VAL, false);
    run.loss = arrays.write<double>(member(job, "loss"), {run.n_batches}, "loss");
    return run;
}

template <class T>
py::list train_as(const py::list& jobs, const Choices& choices) {
    return guarded("train_pack", [&](Extent& extent) {
        Arrays arrays;
        std::vector<HostRun<T>> runs;
        for (const auto& job : jobs) {
            runs.push_back(run_of<T>(arrays, dictionary(job, "job")));
            extent = {runs.back().model.G, runs.back().model.m, int64_t(runs.size())};
        }
        arrays.settle();
        alone([&] { train_pack(runs, choices); });
        py::list out;
        for (const auto& run : runs) out.append(py::make_tuple(run.step, run.evaluations, run.status));
        return out;
    });
}

py::list train(const py::object& given, const py::object& choices) {
    const py::list jobs = list_of(given, "jobs");
    const Choices wish = choices_of(choices);
    if (jobs.empty()) return py::list();
    return first_is_float(jobs) ? train_as<float>(jobs, wish) : train_as<double>(jobs, wish);
}

const Bind bind([](py::module_& module) {
    module.def("train_pack", &train, py::arg("jobs"), py::arg("choices"));
});

}  // namespace

}  // namespace gpu
}  // namespace dash
