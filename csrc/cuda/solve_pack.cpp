// Solves of many models, cut into tiles of four samples, and the gradient of one: views, launches, results.
#include <algorithm>

#include "pack.hpp"

namespace dash {
namespace gpu {

namespace {

constexpr int64_t kSizeLimit = 64;  // first try: accepted steps of a sample

template <class T>
class SolvePack {
  public:
    SolvePack(std::vector<HostSolve<T>>& jobs, const Choices& choices) : jobs_(jobs), choices_(choices) {
        const Timer timer(timings().host);
        patterns_.resize(jobs_.size());
        parallel_for(jobs_.size(), [&](size_t k) {
            patterns_[k] = ModelPattern<T>(jobs_[k].model, choices.compress_below);
        });
        for (size_t k = 0; k < jobs_.size(); ++k)
            together_.push_back(for_team(Kernel::kSolve, jobs_[k].model, patterns_[k], choices)
                                    ? kTeamTiles * kSamples : kSamples);
        stage_.fill([this] { put(); });
        stage_.state.send();
    }

    void run() {
        const int64_t shared = choices_.shared_bytes ? choices_.shared_bytes : shared_limit();
        std::vector<int> left;
        for (size_t k = 0; k < tiles_.size(); ++k) left.push_back(static_cast<int>(k));
        std::vector<Need> needs(tiles_.size());
        for (const int k : left) {
            const size_t owner = owner_[k];
            needs[k] = need_of(models_[owner], methods_[owner], kForSolve, 0, shared, together_[owner] > kSamples, 0);
        }
        for (int64_t limit = kSizeLimit; !left.empty(); limit *= 4) {
            const int64_t row = *std::max_element(together_.begin(), together_.end()) * limit;
            char* sizes = pool().device(Pool::kResult, int64_t(left.size()) * row * 8);
            for (size_t i = 0; i < left.size(); ++i) {
                tiles_[left[i]].sizes = reinterpret_cast<double*>(sizes) + i * row;
                tiles_[left[i]].size_limit = limit;
            }
            std::copy(tiles_.begin(), tiles_.end(), stage_.fixed.on_host(device_tiles_));
            stage_.fixed.send();
            run_jobs<T>(Kernel::kSolve, device_tiles_, left, needs, 0);
            stage_.state.fetch();
            std::vector<double> found(left.size() * row);
            to_host(found.data(), sizes, static_cast<int64_t>(found.size()) * 8);
            std::vector<int> again;
            for (size_t i = 0; i < left.size(); ++i) {
                const SolveView<T>& tile = tiles_[left[i]];
                const int64_t* status = stage_.state.on_host(tile.status);
                if (std::find(status, status + tile.n, int64_t(kTapeFull)) != status + tile.n) {
                    again.push_back(left[i]);
                    continue;
                }
                const int64_t* steps = stage_.state.on_host(tile.steps);
                for (int s = 0; s < tile.n; ++s)
                    accepted_[left[i]][s].assign(found.data() + i * row + s * limit,
                                                 found.data() + i * row + s * limit + steps[s]);
            }
            left = again;
        }
        give();
    }

  private:
    void put() {
        Arena &state = stage_.state, &fixed = stage_.fixed;
        models_.clear(), methods_.clear(), tiles_.clear(), owner_.clear();
        for (size_t k = 0; k < jobs_.size(); ++k) {
            models_.push_back(put_model(jobs_[k].model, patterns_[k], state, fixed));
            methods_.push_back(Method<T>::of(jobs_[k].options.method));
        }
        const ModelView<T>* models = fixed.put(models_.data(), static_cast<int64_t>(models_.size()));
        const Method<T>* methods = fixed.put(methods_.data(), static_cast<int64_t>(methods_.size()));
        std::map<const void*, const void*> known;
        for (size_t k = 0; k < jobs_.size(); ++k) {
            const HostSolve<T>& job = jobs_[k];
            const int64_t B = job.B, G = job.model.G;
            const T* y0 = fixed.put_once(job.y0, B * G, known);
            const double* dt = fixed.put_once(job.dt, B, known);
            T* y1_host;
            int64_t* host;
            T* y1 = state.room(B * G, &y1_host);
            int64_t *status = state.room(B, &host), *steps = state.room(B, &host);
            int64_t *rejected = state.room(B, &host), *evaluations = state.room(B, &host);
            for (int64_t at = 0; at < B; at += together_[k]) {
                const int n = static_cast<int>(std::min(together_[k], B - at));
                tiles_.push_back({models + k, methods + k, job.options, n, y0 + at * G, dt + at, y1 + at * G,
                                  status + at, steps + at, rejected + at, evaluations + at, nullptr, 0});
                owner_.push_back(k);
            }
        }
        accepted_.resize(tiles_.size());
        for (auto& tile : accepted_) tile.resize(kTeamTiles * kSamples);
        device_tiles_ = fixed.put(tiles_.data(), static_cast<int64_t>(tiles_.size()));
    }

    void give() {
        size_t tile = 0;
        for (size_t k = 0; k < jobs_.size(); ++k) {
            HostSolve<T>& job = jobs_[k];
            const int64_t together = together_[k];
            const int64_t B = job.B, G = job.model.G;
            const size_t first = tile;
            job.width = 0;
            for (int64_t at = 0; at < B; at += together, ++tile) {
                const SolveView<T>& t = tiles_[tile];
                stage_.copy_back(t.y1, t.n * G, job.y1 + at * G);
                stage_.copy_back(t.status, t.n, job.status + at), stage_.copy_back(t.steps, t.n, job.steps + at);
                stage_.copy_back(t.rejected, t.n, job.rejected + at);
                stage_.copy_back(t.evaluations, t.n, job.evaluations + at);
                for (int s = 0; s < t.n; ++s) {
                    job.width = std::max<int64_t>(job.width, static_cast<int64_t>(accepted_[tile][s].size()));
                }
            }
            job.sizes.assign(B * job.width, 0.0);
            for (int64_t b = 0; b < B; ++b) {
                const auto& row = accepted_[first + b / together][b % together];
                std::copy(row.begin(), row.end(), job.sizes.begin() + b * job.width);
            }
        }
    }

    std::vector<HostSolve<T>>& jobs_;
    Choices choices_;
    std::vector<ModelPattern<T>> patterns_;
    std::vector<ModelView<T>> models_;
    std::vector<Method<T>> methods_;
    std::vector<SolveView<T>> tiles_;
    std::vector<size_t> owner_;
    std::vector<int64_t> together_;  // samples that are integrated side by side, per job
    std::vector<std::vector<std::vector<double>>> accepted_;
    SolveView<T>* device_tiles_ = nullptr;
    Stage stage_;
};

template <class T>
class Backward {
  public:
    Backward(HostBackward<T>& job, const Choices& choices) : job_(job), choices_(choices), pattern_(job.model, 0) {}

    void run() {
        stage_.fill([this] { put(); });
        stage_.state.send(), stage_.fixed.send();
        const int64_t shared = choices_.shared_bytes ? choices_.shared_bytes : shared_limit();
        const Need need = need_of(view_.model, view_.method, kForTraining, job_.n, shared, false, 0);
        run_jobs<T>(Kernel::kBackward, device_view_, {0}, {need}, job_.n);
        stage_.state.fetch();
        const int64_t G = job_.model.G, m = job_.model.m;
        stage_.copy_back(view_.grad_y0, job_.B * G, job_.grad_y0);
        stage_.copy_back(view_.longest, job_.B, job_.longest);
        for (int k = 0; k < 2; ++k) {
            stage_.copy_back(view_.grad.W[k], pattern_.matrix[k].values, job_.grad[k ? W_PRODS : W_SUMS]);
            stage_.copy_back(view_.grad.U[k], pattern_.matrix[2 + k].values, job_.grad[k ? U_PRODS : U_SUMS]);
            stage_.copy_back(view_.grad.b[k], m, job_.grad[k ? B_PRODS : B_SUMS]);
        }
        stage_.copy_back(view_.grad.v, G, job_.grad[V]);
    }

  private:
    void put() {
        Arena &state = stage_.state, &fixed = stage_.fixed;
        const int64_t G = job_.model.G, m = job_.model.m;
        T* host;
        view_ = {};
        view_.model = put_model(job_.model, pattern_, state, fixed);
        view_.method = Method<T>::of(job_.method);
        view_.B = job_.B, view_.n = job_.n;
        view_.y0 = fixed.put(job_.y0, job_.B * G);
        view_.sizes = fixed.put(job_.sizes, job_.B * job_.n);
        view_.grad_y1 = fixed.put(job_.grad_y1, job_.B * G);
        view_.grad_y0 = state.room(job_.B * G, &host);
        double* longest;
        view_.longest = state.room(job_.B, &longest);
        for (int k = 0; k < 2; ++k) {
            view_.grad.W[k] = state.room(pattern_.matrix[k].values, &host);
            view_.grad.U[k] = state.room(pattern_.matrix[2 + k].values, &host);
            view_.grad.b[k] = state.room(m, &host);
        }
        view_.grad.v = state.room(G, &host);
        device_view_ = fixed.put(&view_, 1);
    }

    HostBackward<T>& job_;
    Choices choices_;
    ModelPattern<T> pattern_;
    AdjointView<T> view_{};
    AdjointView<T>* device_view_ = nullptr;
    Stage stage_;
};

}  // namespace

template <class T>
void solve_pack(std::vector<HostSolve<T>>& jobs, const Choices& choices) {
    bool any = false;
    for (HostSolve<T>& job : jobs) any = any || job.B > 0, job.width = 0;
    if (any) SolvePack<T>(jobs, choices).run();
}

template <class T>
void backward(HostBackward<T>& job, const Choices& choices) {
    Backward<T>(job, choices).run();
}

template void solve_pack<float>(std::vector<HostSolve<float>>&, const Choices&);
template void solve_pack<double>(std::vector<HostSolve<double>>&, const Choices&);
template void backward<float>(HostBackward<float>&, const Choices&);
template void backward<double>(HostBackward<double>&, const Choices&);

}  // namespace gpu
}  // namespace dash
