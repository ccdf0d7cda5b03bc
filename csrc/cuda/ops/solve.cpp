// solve_many of the modules: solves of many models, cut into tiles of four samples. Views, launches, results.
#include "solve.hpp"

#include <algorithm>
#include <deque>

#include "../tasks.hpp"
#include "../queue.hpp"

namespace dash {
namespace gpu {

namespace {

constexpr int64_t kSizeLimit = 64;  // first try: accepted steps of a sample

template <class T>
class SolvePack {
  public:
    SolvePack(const std::vector<SolveArgs<T>*>& solves, const Choices& choices) : solves_(solves), choices_(choices) {
        const Timer timer(timings().host);
        patterns_.resize(solves_.size());
        parallel_for(solves_.size(), [&](size_t k) {
            patterns_[k] = ModelPattern(solves_[k]->params, choices.compress_below);
        });
        for (size_t k = 0; k < solves_.size(); ++k)
            together_.push_back(for_team(team_kernel_of<SolveView<T>>(), solves_[k]->params, patterns_[k], choices)
                                    ? kTeamTiles * kSamples : kSamples);
        stage_.fill([this] { put(); });
        stage_.state.send();
    }

    void run() {
        const int64_t shared = choices_.shared_bytes ? choices_.shared_bytes : shared_limit(kernel_of<SolveView<T>>());
        std::vector<int> left;
        std::vector<Need> needs;
        for (size_t k = 0; k < tiles_.size(); ++k) {
            const size_t owner = owner_[k];
            left.push_back(static_cast<int>(k));
            needs.push_back(need_of(tiles_[k].args.params, forms_[owner], methods_[owner], kForSolve, 0, shared,
                                    together_[owner] > kSamples, 0));
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
            run_tasks(kernel_of<SolveView<T>>(), &team_kernel_of<SolveView<T>>(), device_tiles_, left, needs, 0);
            stage_.state.fetch();
            std::vector<double> found(left.size() * row);
            to_host(found.data(), sizes, static_cast<int64_t>(found.size()) * 8);
            std::vector<int> again;
            for (size_t i = 0; i < left.size(); ++i)
                if (!give(left[i], found.data() + i * row, limit)) again.push_back(left[i]);
            left = again;
        }
    }

  private:
    void put() {
        Arena &state = stage_.state, &fixed = stage_.fixed;
        forms_.assign(solves_.size(), {}), methods_.clear(), tiles_.clear(), owner_.clear(), first_.clear();
        std::vector<Params<T>> params;
        for (size_t k = 0; k < solves_.size(); ++k) {
            params.push_back(put_params(solves_[k]->params, patterns_[k], state, fixed, forms_[k]));
            methods_.push_back(Method<T>::of(solves_[k]->options.method));
        }
        const ModelForm* forms = fixed.put(forms_.data(), static_cast<int64_t>(forms_.size()));
        const Method<T>* methods = fixed.put(methods_.data(), static_cast<int64_t>(methods_.size()));
        std::map<const void*, const void*> known;
        for (size_t k = 0; k < solves_.size(); ++k) {
            SolveArgs<T> args = *solves_[k];
            const int64_t B = args.B, G = args.params.G;
            T* y1_host;
            int64_t* host;
            args.params = params[k];
            args.y0 = fixed.put_once(args.y0, B * G, known);
            args.dt = fixed.put_once(args.dt, B, known);
            args.y1 = state.room(B * G, &y1_host);
            args.status = state.room(B, &host), args.steps = state.room(B, &host);
            args.rejected = state.room(B, &host), args.evaluations = state.room(B, &host);
            for (int64_t at = 0; at < B; at += together_[k]) {
                SolveArgs<T> part = args;
                part.B = std::min(together_[k], B - at);
                part.y0 += at * G, part.dt += at, part.y1 += at * G;
                part.status += at, part.steps += at, part.rejected += at, part.evaluations += at;
                tiles_.push_back({part, forms + k, methods + k, nullptr, 0});
                owner_.push_back(k), first_.push_back(at);
            }
        }
        device_tiles_ = fixed.put(tiles_.data(), static_cast<int64_t>(tiles_.size()));
    }

    // A tile's results to the caller; false when a sample took more steps than there was room for.
    bool give(int tile, const double* sizes, int64_t limit) {
        const SolveArgs<T>& part = tiles_[tile].args;
        const int64_t *status = stage_.state.on_host(part.status), *steps = stage_.state.on_host(part.steps);
        if (std::find(status, status + part.B, int64_t(kTapeFull)) != status + part.B) return false;
        SolveArgs<T>& args = *solves_[owner_[tile]];
        const int64_t at = first_[tile], G = args.params.G;
        stage_.copy_back(part.y1, part.B * G, args.y1 + at * G);
        stage_.copy_back(part.status, part.B, args.status + at), stage_.copy_back(part.steps, part.B, args.steps + at);
        stage_.copy_back(part.rejected, part.B, args.rejected + at);
        stage_.copy_back(part.evaluations, part.B, args.evaluations + at);
        for (int64_t s = 0; s < part.B; ++s)
            for (int64_t k = 0; k < steps[s]; ++k) args.sink->push(at + s, sizes[s * limit + k]);
        return true;
    }

    const std::vector<SolveArgs<T>*>& solves_;
    Choices choices_;
    std::vector<ModelPattern> patterns_;
    std::vector<ModelForm> forms_;
    std::vector<Method<T>> methods_;
    std::vector<SolveView<T>> tiles_;
    std::vector<size_t> owner_;
    std::vector<int64_t> first_;     // samples of its owner before a tile
    std::vector<int64_t> together_;  // samples that are integrated side by side, per solve
    SolveView<T>* device_tiles_ = nullptr;
    Stage stage_;
};

// For each task (end states, status, steps, rejected, evaluations, step sizes).
py::list solve(const py::object& given, const py::object& choices) {
    return with_models(given, choices, [](auto one, const std::vector<GivenTask>& tasks, const Choices& wish) {
        typedef decltype(one) T;
        return guarded("solve_many", [&](Extent& extent) {
            Arrays arrays;
            std::deque<SolveCall<T>> calls;
            std::vector<SolveArgs<T>*> solves;
            for (const GivenTask& task : tasks) {
                extent = {task.given.sizes.G, task.given.sizes.m, int64_t(calls.size() + 1)};
                calls.emplace_back(arrays, task.given, member(task.task, "y0"), member(task.task, "dt"),
                                   options_in(task.task));
                if (calls.back().args.B > 0) solves.push_back(&calls.back().args);
            }
            if (!solves.empty()) alone([&] { SolvePack<T>(solves, wish).run(); });
            py::list out;
            for (const SolveCall<T>& call : calls) out.append(call.results());
            return out;
        });
    });
}

const Bind bind([](py::module_& module) {
    module.def("solve_many", &solve, py::arg("tasks"), py::arg("choices"));
});

}  // namespace

}  // namespace gpu
}  // namespace dash
