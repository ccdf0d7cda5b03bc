// Forward integration of a tile: L samples side by side, each with its own step size, status and statistics.
#pragma once
#include "../core/control.hpp"
#include "../core/tableau.hpp"
#include "model.hpp"

namespace dash {
namespace DASH_ISA {

// Accepted states and step sizes of a tile, for the reverse sweep.
template <class T, int L>
class Tape {
  public:
    int64_t count[L];

    void clear() {
        for (int l = 0; l < L; ++l) count[l] = 0;
    }
    void push(int lane, const T* state, double size, int64_t G) {
        const int64_t n = count[lane]++;
        T* states = states_.grow((n + 1) * G * L);
        sizes_.grow((n + 1) * L)[n * L + lane] = size;
        for (int64_t g = 0; g < G; ++g) states[(n * G + g) * L + lane] = state[g * L + lane];
    }
    int64_t longest() const {
        int64_t most = 0;
        for (int l = 0; l < L; ++l) most = count[l] > most ? count[l] : most;
        return most;
    }
    // The step that is k-th from the end in every lane; lanes that have run out get size 0 and their first state.
    void from_end(int64_t k, T* state, vec<T, L>& size, int64_t G) const {
        for (int l = 0; l < L; ++l) {
            const int64_t n = count[l] - 1 - k;
            size[l] = n >= 0 ? static_cast<T>(sizes_[n * L + l]) : T(0);
            if (count[l] == 0) {
                for (int64_t g = 0; g < G; ++g) state[g * L + l] = T(0.5);
            } else if (n >= 0) {
                for (int64_t g = 0; g < G; ++g) state[g * L + l] = states_[(n * G + g) * L + l];
            }
        }
    }

  private:
    Buffer<T> states_;
    Buffer<double> sizes_;
};

struct LaneResult {
    int64_t status = kSolved, steps = 0, rejected = 0, evaluations = 0;
};

// out[g] = y[g] + sum_j coefficient[j] * k[j][g]
template <class T, int L, int N>
inline void combine_n(const T* y, const vec<T, L>* coefficient, const T* const* k, T* out, int64_t G) {
    typedef vec<T, L> V;
    for (int64_t g = 0; g < G; ++g) {
        V sum = reinterpret_cast<const V*>(y)[g];
        for (int j = 0; j < N; ++j) sum += coefficient[j] * reinterpret_cast<const V*>(k[j])[g];
        reinterpret_cast<V*>(out)[g] = sum;
    }
}

// The same for weights times the step size h; weights that are 0 are skipped.
template <class T, int L>
inline void combine(const T* y, const double* weight, int n, vec<T, L> h, T* const* k, T* out, int64_t G) {
    vec<T, L> coefficient[7];
    const T* used[7];
    int N = 0;
    for (int j = 0; j < n; ++j)
        if (weight[j] != 0) {
            coefficient[N] = h * static_cast<T>(weight[j]);
            used[N++] = k[j];
        }
    switch (N) {
        case 0: if (out != y) std::memcpy(out, y, G * L * sizeof(T)); break;
        case 1: combine_n<T, L, 1>(y, coefficient, used, out, G); break;
        case 2: combine_n<T, L, 2>(y, coefficient, used, out, G); break;
        case 3: combine_n<T, L, 3>(y, coefficient, used, out, G); break;
        case 4: combine_n<T, L, 4>(y, coefficient, used, out, G); break;
        case 5: combine_n<T, L, 5>(y, coefficient, used, out, G); break;
        case 6: combine_n<T, L, 6>(y, coefficient, used, out, G); break;
        default: combine_n<T, L, 7>(y, coefficient, used, out, G); break;
    }
}

template <class T, int L>
class Integrator {
  public:
    typedef vec<T, L> V;

    T* y = nullptr;  // [G][L]: start states go in, end states come out

    void prepare(const Model<T>& model) {
        const int64_t G = model.G, m = model.m;
        T* p = memory_.reserve((12 * G + 2 * m) * L);
        auto take = [&p](int64_t n) { T* at = p; p += n * L; return at; };
        y = take(G), y_new_ = take(G), stage_ = take(G);
        for (auto& k : k_) k = take(G);
        trace_ = {take(G), take(G), take(m), take(m)};
        model_ = &model;
    }

    // Integrate lanes 0..n-1 over dt; on_accept(lane, state before, size) is called for each accepted step.
    template <class OnAccept>
    void run(int n, const double* dt, const SolveOptions& options, LaneResult* result, OnAccept on_accept) {
        const int64_t G = model_->G;
        const Tableau& method = tableau(options.method);
        double t[L] = {}, h[L] = {};
        int64_t count[L] = {};
        bool todo[L] = {};
        for (int l = 0; l < n; ++l) {
            result[l] = LaneResult{};
            todo[l] = dt[l] > 0;
            for (int64_t g = 0; g < G; ++g)
                if (!std::isfinite(y[g * L + l])) result[l].status = kNonFinite, todo[l] = false;
            count[l] = options.max_steps;
        }
        if (method.adaptive) {
            bool any = false;
            for (int l = 0; l < n; ++l) any = any || todo[l];
            if (!any) return;
            first_steps(n, dt, options, todo, h, result);
        } else {
            for (int l = 0; l < n; ++l) {
                if (!todo[l]) continue;
                const double steps = std::ceil(dt[l] / options.step - 1e-9);
                count[l] = steps < 1 ? 1 : static_cast<int64_t>(steps < 9e18 ? steps : 9e18);
                if (count[l] > options.max_steps) result[l].status = kMaxSteps, todo[l] = false;
                h[l] = dt[l] / count[l];
            }
        }
        for (;;) {
            bool any = false, last[L] = {};
            double size[L] = {};
            V hs = {};
            for (int l = 0; l < n; ++l) {
                if (!todo[l]) continue;
                any = true;
                if (method.adaptive) {
                    last[l] = t[l] + h[l] >= dt[l] * (1 - 1e-12);
                    size[l] = last[l] ? dt[l] - t[l] : h[l];
                } else {
                    last[l] = result[l].steps + 1 == count[l];
                    size[l] = h[l];
                }
                hs[l] = static_cast<T>(size[l]);
            }
            if (!any) return;
            if (!method.adaptive) model_->template rhs<L>(y, k_[0], trace_);
            for (int i = 1; i < method.stages; ++i) {
                combine<T, L>(y, method.a[i], i, hs, k_, stage_, G);
                model_->template rhs<L>(stage_, k_[i], trace_);
            }
            combine<T, L>(y, method.b, method.stages, hs, k_, y_new_, G);
            double ratio[L];
            if (method.adaptive) {
                model_->template rhs<L>(y_new_, k_[6], trace_);
                scaled_error(method, hs, options, ratio);
            } else {
                V sum = {};
                for (int64_t g = 0; g < G; ++g) sum += reinterpret_cast<const V*>(y_new_)[g] * T(0);
                for (int l = 0; l < L; ++l) ratio[l] = sum[l];  // 0, or NaN
            }
            bool accepted[L] = {};
            for (int l = 0; l < n; ++l) {
                if (!todo[l]) continue;
                LaneResult& lane = result[l];
                lane.evaluations += method.adaptive ? 6 : method.stages;
                accepted[l] = ratio[l] <= 1;
                if (method.adaptive) h[l] = size[l] * step_factor(ratio[l]);
                if (accepted[l]) {
                    on_accept(l, y, size[l]);
                    t[l] = last[l] ? dt[l] : t[l] + size[l];
                    ++lane.steps;
                    if (last[l]) todo[l] = false;
                } else {
                    ++lane.rejected;
                    if (!method.adaptive || h[l] <= dt[l] * 1e-12) {
                        lane.status = std::isfinite(ratio[l]) ? kStepUnderflow : kNonFinite;
                        todo[l] = false;
                    }
                }
                if (todo[l] && lane.steps + lane.rejected >= count[l]) lane.status = kMaxSteps, todo[l] = false;
            }
            advance(n, accepted, method.adaptive);
        }
    }

  private:
    void first_steps(int n, const double* dt, const SolveOptions& options, const bool* todo, double* h,
                     LaneResult* result) {
        const int64_t G = model_->G;
        const T rtol = static_cast<T>(options.rtol), atol = static_cast<T>(options.atol);
        model_->template rhs<L>(y, k_[0], trace_);
        V s0 = {}, s1 = {}, s2 = {};
        for (int64_t g = 0; g < G; ++g) {
            const V state = at(y, g), scale = atol + rtol * vabs<T, L>(state);
            const V a = state / scale, b = at(k_[0], g) / scale;
            s0 += a * a;
            s1 += b * b;
        }
        double d0[L], d1[L], trial[L];
        V hs = {};
        for (int l = 0; l < n; ++l) {
            d0[l] = std::sqrt(double(s0[l]) / G), d1[l] = std::sqrt(double(s1[l]) / G);
            trial[l] = trial_step(d0[l], d1[l], dt[l]);
            hs[l] = static_cast<T>(trial[l]);
        }
        const double one[1] = {1};
        combine<T, L>(y, one, 1, hs, k_, stage_, G);
        model_->template rhs<L>(stage_, k_[1], trace_);
        for (int64_t g = 0; g < G; ++g) {
            const V scale = atol + rtol * vabs<T, L>(at(y, g));
            const V a = (at(k_[1], g) - at(k_[0], g)) / scale;
            s2 += a * a;
        }
        for (int l = 0; l < n; ++l) {
            if (!todo[l]) continue;
            h[l] = first_step(trial[l], d1[l], std::sqrt(double(s2[l]) / G) / trial[l], dt[l]);
            result[l].evaluations += 2;
        }
    }

    void scaled_error(const Tableau& method, V hs, const SolveOptions& options, double* ratio) const {
        const int64_t G = model_->G;
        const T rtol = static_cast<T>(options.rtol), atol = static_cast<T>(options.atol);
        V sum = {};
        for (int64_t g = 0; g < G; ++g) {
            V error = {};
            for (int j = 0; j < 7; ++j)
                if (j != 1) error += static_cast<T>(method.e[j]) * at(k_[j], g);
            const V scale = atol + rtol * vmax<T, L>(vabs<T, L>(at(y, g)), vabs<T, L>(at(y_new_, g)));
            const V q = error * hs / scale;
            sum += q * q;
        }
        for (int l = 0; l < L; ++l) ratio[l] = std::sqrt(double(sum[l]) / G);
    }

    // Accepted lanes take the new state, and its derivative as the first of the next step.
    void advance(int n, const bool* accepted, bool adaptive) {
        bool all = true;
        for (int l = 0; l < n; ++l) all = all && accepted[l];
        const int64_t G = model_->G;
        if (all && n == L) {
            T* swap = y;
            y = y_new_, y_new_ = swap;
            if (adaptive) swap = k_[0], k_[0] = k_[6], k_[6] = swap;
            return;
        }
        for (int l = 0; l < n; ++l) {
            if (!accepted[l]) continue;
            for (int64_t g = 0; g < G; ++g) y[g * L + l] = y_new_[g * L + l];
            if (adaptive)
                for (int64_t g = 0; g < G; ++g) k_[0][g * L + l] = k_[6][g * L + l];
        }
    }

    static V at(const T* p, int64_t g) { return reinterpret_cast<const V*>(p)[g]; }

    Buffer<T> memory_;
    const Model<T>* model_ = nullptr;
    T *y_new_ = nullptr, *stage_ = nullptr;
    T* k_[7] = {};
    Trace<T> trace_ = {};
};

// Copy rows of a [*, G] array into the lanes of a tile; lanes without a sample hold the resting state 0.5.
template <class T, int L>
inline void load_tile(const T* const* row, int n, int64_t G, T* tile) {
    for (int l = 0; l < L; ++l)
        for (int64_t g = 0; g < G; ++g) tile[g * L + l] = l < n ? row[l][g] : T(0.5);
}

// Call f(std::integral_constant-like width, first, n) for tiles that cover B samples.
template <int L>
struct Width {
    static constexpr int value = L;
};
template <class T, class F>
inline void for_tiles(int64_t B, F f) {
    for (int64_t first = 0; first < B;) {
        const int64_t left = B - first;
        constexpr int widest = sizeof(T) == 4 ? 16 : 8;
        const int n = static_cast<int>(left < widest ? left : widest);
        if (n <= 4)
            f(Width<4>{}, first, n);
        else if (n <= 8)
            f(Width<8>{}, first, n);
        else
            f(Width<widest>{}, first, n);
        first += n;
    }
}

}  // namespace DASH_ISA
}  // namespace dash
