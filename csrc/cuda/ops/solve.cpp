// solve_pack of the modules: solves of many models, cut into tiles of four samples. Arrays, views, launches, results.
#include <algorithm>

#include "../jobs.hpp"
#include "../pack.hpp"

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
            together_.push_back(for_team(team_kernel_of<SolveView<T>>(), jobs_[k].model, patterns_[k], choices)
                                    ? kTeamTiles * kSamples : kSamples);
        stage_.fill([this] { put(); });
        stage_.state.send();
    }

    void run() {
        const int64_t shared = choices_.shared_bytes ? choices_.shared_bytes : shared_limit(kernel_of<SolveView<T>>());
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
            run_jobs(kernel_of<SolveView<T>>(), &team_kernel_of<SolveView<T>>(), device_tiles_, left, needs, 0);
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
void solve_pack(std::vector<HostSolve<T>>& jobs, const Choices& choices) {
    bool any = false;
    for (HostSolve<T>& job : jobs) any = any || job.B > 0, job.width = 0;
    if (any) SolvePack<T>(jobs, choices).run();
}

template <class T>
py::list solve_as(const py::list& jobs, const Choices& choices) {
    return guarded("solve_pack", [&](Extent& extent) {
        Arrays arrays;
        std::vector<HostSolve<T>> solves;
        py::list out;
        for (const auto& item : jobs) {
            const py::dict job = dictionary(item, "job");
            HostSolve<T> solve{};
            solve.model = model_of<T>(arrays, job, false).model;
            solve.options = options_in(job);
            const int64_t B = length_of(member(job, "dt"), "dt"), G = solve.model.G;
            solve.B = B;
            solve.dt = arrays.read<double>(member(job, "dt"), {B}, "dt");
            check_intervals(solve.dt, B);
            solve.y0 = arrays.read<T>(member(job, "y0"), {B, G}, "y0");
            py::array_t<T> y1({B, G});
            py::array_t<int64_t> status(B), steps(B), rejected(B), evaluations(B);
            solve.y1 = y1.mutable_data();
            solve.status = status.mutable_data(), solve.steps = steps.mutable_data();
            solve.rejected = rejected.mutable_data(), solve.evaluations = evaluations.mutable_data();
            solves.push_back(solve);
            out.append(py::make_tuple(y1, status, steps, rejected, evaluations));
            extent = {G, solve.model.m, int64_t(solves.size())};
        }
        alone([&] { solve_pack(solves, choices); });
        for (size_t k = 0; k < solves.size(); ++k) {
            const HostSolve<T>& solve = solves[k];
            py::array_t<double> sizes({solve.B, solve.width});
            std::copy(solve.sizes.begin(), solve.sizes.end(), sizes.mutable_data());
            const py::tuple five = out[k];
            out[k] = py::make_tuple(five[0], five[1], five[2], five[3], five[4], sizes);
        }
        return out;
    });
}

py::list solve(const py::object& given, const py::object& choices) {
    const py::list jobs = list_of(given, "jobs");
    const Choices wish = choices_of(choices);
    if (jobs.empty()) return py::list();
    return first_is_float(jobs) ? solve_as<float>(jobs, wish) : solve_as<double>(jobs, wish);
}

const Bind bind([](py::module_& module) {
    module.def("solve_pack", &solve, py::arg("jobs"), py::arg("choices"));
});

}  // namespace

}  // namespace gpu
}  // namespace dash
