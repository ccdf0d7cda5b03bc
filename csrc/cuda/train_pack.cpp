// An epoch of many runs: views, launches, results.
#include <algorithm>

#include "../core/observed.hpp"
#include "pack.hpp"

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
                observed_[k].push_back(observed_values(run.y1, run.model.G, run.batch_index + run.batch_ptr[b],
                                                       run.batch_ptr[b + 1] - run.batch_ptr[b]));
        });
        stage_.fill([this] { put(); });
    }

    void epoch() {
        stage_.state.send(), stage_.fixed.send();
        const int64_t shared = choices_.shared_bytes ? choices_.shared_bytes : shared_limit();
        std::vector<int> left;
        std::vector<char> team(runs_.size());
        for (size_t k = 0; k < runs_.size(); ++k) {
            left.push_back(static_cast<int>(k));
            team[k] = for_team(Kernel::kTrain, runs_[k].model, patterns_[k], choices_);
        }
        int64_t limit = choices_.state_limit ? choices_.state_limit : kStateLimit;
        for (; !left.empty(); limit *= 4) {
            std::vector<Need> needs(runs_.size());
            for (const int k : left)
                needs[k] = need_of(views_[k].model, views_[k].method, kForTraining, limit, shared, team[k], work(k));
            run_jobs<T>(Kernel::kTrain, device_views_, left, needs, limit);
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
            stage_.copy_back(view.loss, run.n_batches, run.loss);
            const Outcome& out = outcome(k);
            run.step = out.step, run.evaluations = out.evaluations;
            run.status = out.status == kTapeFull ? int64_t(kMaxSteps) : out.status;
        });
    }

  private:
    void put() {
        Arena &state = stage_.state, &fixed = stage_.fixed;
        std::map<const void*, const void*> known;
        views_.clear();
        Outcome* outcomes;
        outcomes_ = state.room(static_cast<int64_t>(runs_.size()), &outcomes);
        for (size_t k = 0; k < runs_.size(); ++k) {
            const HostRun<T>& run = runs_[k];
            const int64_t G = run.model.G, m = run.model.m;
            TrainView<T> view{};
            view.model = put_model(run.model, patterns_[k], state, fixed);
            for (int i = 0; i < 2; ++i) {
                view.b_moment1[i] = state.put(run.b_moment1[i], m);
                view.b_moment2[i] = state.put(run.b_moment2[i], m);
            }
            view.v_moment1 = state.put(run.v_moment1, G), view.v_moment2 = state.put(run.v_moment2, G);
            view.method = Method<T>::of(run.options.method);
            view.options = run.options;
            view.n_batches = run.n_batches;
            view.batch_ptr = fixed.put(run.batch_ptr, run.n_batches + 1);
            view.batch_index = fixed.put(run.batch_index, run.batch_ptr[run.n_batches]);
            view.y0 = fixed.put_once(run.y0, run.N * G, known);
            view.y1 = fixed.put_once(run.y1, run.N * G, known);
            view.observed = fixed.put(observed_[k].data(), run.n_batches);
            view.dt = fixed.put_once(run.dt, run.N, known);
            for (int i = 0; i < N_TENSORS; ++i) view.lr[i] = run.lr[i];
            view.tau = run.tau;
            view.prior = run.prior;
            if (run.prior.points > 0) {
                const int64_t entries = run.prior.ptr[G];
                view.prior.states = fixed.put_once(run.prior.states, run.prior.points * G, known);
                view.prior.ptr = fixed.put_once(run.prior.ptr, G + 1, known);
                view.prior.index = fixed.put_once(run.prior.index, entries, known);
                view.prior.value = fixed.put_once(run.prior.value, entries, known);
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
            entries += s.compressed ? 4 * static_cast<int64_t>(s.at.size()) : s.values;
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

}  // namespace gpu
}  // namespace dash
