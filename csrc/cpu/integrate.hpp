// Forward integration of a tile: L samples side by side, each with its own step size, status and statistics.
#pragma once
#include "../core/control.hpp"
#include "../core/tableau.hpp"
#include "tape.hpp"

namespace dash {
namespace DASH_ISA {

struct LaneResult {
    int64_t status = kSolved, steps = 0, rejected = 0, evaluations = 0;
};

// Stage 1 or later of a step from y: its state y + h * sum of a[stage][j] * k[j], in out, and the derivative there.
template <class T, int L>
inline void evaluate_stage(const Model<T>& model, const Tableau& method, int stage, const PerSample<T, L>& h,
                           Tape<T, L>& tape, int64_t n, const T* y, T* out, const T* rates, T* scratch) {
    Terms<T, L> terms;
    for (int j = 0; j < stage; ++j) terms.add(h, method.a[stage][j], tape.slot(n, j).derivative());
    model.template rhs_at<L>(y, terms, out, rates, tape.slot(n, stage), scratch);
}

template <class T, int L>
class Integrator {
  public:
    typedef Vec<T> V;

    T* y = nullptr;  // [rows][L]: start states go in, end states come out

    void prepare(const Model<T>& model, Tape<T, L>& tape, bool keep) {
        model_ = &model, tape_ = &tape;
        rows_ = padded(model.G);
        tape.prepare(rows_, padded(model.m), keep);
        T* p = memory_.zeros(5 * rows_ * L);
        y = p, y_new_ = p + rows_ * L, stage_ = p + 2 * rows_ * L, rates_ = p + 3 * rows_ * L, scratch_ = p + 4 * rows_ * L;
        model.template rate_tile<L>(rates_);
    }

    // Integrate lanes 0..n-1 over dt; on_accept(lane, size) is called for each accepted step.
    template <class OnAccept>
    void run(int n, const double* dt, const SolveOptions& options, LaneResult* result, OnAccept on_accept) {
        const Tableau& method = tableau(options.method);
        double t[L] = {}, h[L] = {};
        int64_t limit[L] = {};
        bool todo[L] = {};
        for (int l = 0; l < n; ++l) {
            result[l] = LaneResult{};
            todo[l] = dt[l] > 0;
            for (int64_t g = 0; g < model_->G; ++g)
                if (!std::isfinite(y[g * L + l])) result[l].status = kNonFinite, todo[l] = false;
            limit[l] = options.max_steps;
        }
        bool any = false;
        for (int l = 0; l < n; ++l) any = any || todo[l];
        if (!any) return;
        model_->template rhs<L>(y, rates_, tape_->slot(0, 0), scratch_);
        if (method.adaptive)
            first_steps(n, dt, options, todo, h, result);
        else
            equal_steps(n, dt, options, todo, h, limit, result);
        for (int64_t iteration = 0;; ++iteration) {
            bool last[L] = {}, accepted[L] = {};
            double size[L] = {}, ratio[L] = {};
            any = false;
            for (int l = 0; l < n; ++l) {
                if (!todo[l]) continue;
                any = true;
                last[l] = method.adaptive ? t[l] + h[l] >= dt[l] * (1 - 1e-12) : result[l].steps + 1 == limit[l];
                size[l] = method.adaptive && last[l] ? dt[l] - t[l] : h[l];
            }
            if (!any) return;
            const PerSample<T, L> hs(size);
            for (int i = 1; i < method.stages; ++i)
                evaluate_stage<T, L>(*model_, method, i, hs, *tape_, iteration, y, stage_, rates_, scratch_);
            Terms<T, L> terms;
            for (int i = 0; i < method.stages; ++i) terms.add(hs, method.b[i], tape_->slot(iteration, i).derivative());
            // the derivative at the new state: part of the error, and the first stage of the next step
            model_->template rhs_at<L>(y, terms, y_new_, rates_, tape_->slot(iteration + 1, 0), scratch_);
            if (method.adaptive)
                scaled_error(method, hs, options, iteration, ratio);
            else
                zero_or_nan(ratio);
            T taken[L];
            for (int l = 0; l < L; ++l) taken[l] = T(0);
            for (int l = 0; l < n; ++l) {
                if (!todo[l]) continue;
                LaneResult& lane = result[l];
                lane.evaluations += method.adaptive ? 6 : method.stages;
                accepted[l] = ratio[l] <= 1;
                if (method.adaptive) h[l] = limited(size[l] * step_factor(ratio[l]), options.longest);
                if (accepted[l]) {
                    on_accept(l, size[l]);
                    taken[l] = static_cast<T>(size[l]);
                    t[l] = last[l] ? dt[l] : t[l] + size[l];
                    ++lane.steps;
                    if (last[l]) todo[l] = false;
                } else {
                    ++lane.rejected;
                    if (!method.adaptive || h[l] <= dt[l] * 1e-12) {
                        lane.status = std::isfinite(ratio[l]) ? underflow(l, dt[l], iteration) : kNonFinite;
                        todo[l] = false;
                    }
                }
                if (todo[l] && lane.steps + lane.rejected >= limit[l]) lane.status = kMaxSteps, todo[l] = false;
            }
            tape_->record(iteration, taken, y);
            advance(n, size, accepted, ratio, result, iteration);
        }
    }

  private:
    void equal_steps(int n, const double* dt, const SolveOptions& options, bool* todo, double* h, int64_t* limit,
                     LaneResult* result) const {
        for (int l = 0; l < n; ++l) {
            if (!todo[l]) continue;
            const double steps = std::ceil(dt[l] / limited(options.step, options.longest) - 1e-9);
            limit[l] = steps < 1 ? 1 : static_cast<int64_t>(steps < 9e18 ? steps : 9e18);
            if (limit[l] > options.max_steps) result[l].status = kMaxSteps, todo[l] = false;
            h[l] = dt[l] / limit[l];
        }
    }

    void first_steps(int n, const double* dt, const SolveOptions& options, const bool* todo, double* h,
                     LaneResult* result) {
        const T rtol = static_cast<T>(options.rtol), atol = static_cast<T>(options.atol);
        const T* f = tape_->slot(0, 0).derivative();
        double d0[L], d1[L], d2[L], trial[L];
        // padded genes rest at 1/2, which must not count in the norm of the state
        std::memcpy(stage_, y, rows_ * L * sizeof(T));
        std::memset(stage_ + model_->G * L, 0, (rows_ - model_->G) * L * sizeof(T));
        gene_sums<T, L>(rows_, d0, [&](int64_t i, int) {
            const V q = at(stage_, i) / (atol + rtol * vabs(at(stage_, i)));
            return q * q;
        });
        gene_sums<T, L>(rows_, d1, [&](int64_t i, int) {
            const V q = at(f, i) / (atol + rtol * vabs(at(y, i)));
            return q * q;
        });
        for (int l = 0; l < L; ++l) {
            d0[l] = norm(d0[l]), d1[l] = norm(d1[l]);
            trial[l] = l < n ? trial_step(d0[l], d1[l], dt[l]) : 0;
        }
        Terms<T, L> terms;
        terms.add(PerSample<T, L>(trial), 1.0, f);
        const Slot<T, L> probe = tape_->slot(0, 1);
        model_->template rhs_at<L>(y, terms, stage_, rates_, probe, scratch_);
        gene_sums<T, L>(rows_, d2, [&](int64_t i, int) {
            const V q = (at(probe.derivative(), i) - at(f, i)) / (atol + rtol * vabs(at(y, i)));
            return q * q;
        });
        for (int l = 0; l < n; ++l) {
            if (!todo[l]) continue;
            h[l] = limited(first_step(trial[l], d1[l], norm(d2[l]) / trial[l], dt[l]), options.longest);
            result[l].evaluations += 2;
        }
    }

    // Why a lane's step became too short.
    int64_t underflow(int lane, double dt, int64_t iteration) const {
        const T* f = tape_->slot(iteration, 0).derivative();
        double state = 0, derivative = 0;
        for (int64_t g = 0; g < model_->G; ++g) {
            const double value = std::fabs(double(y[g * L + lane])), slope = std::fabs(double(f[g * L + lane]));
            state = value > state ? value : state;
            derivative = slope > derivative ? slope : derivative;
        }
        return blows_up(state, derivative, dt) ? kBlowUp : kStepUnderflow;
    }

    void scaled_error(const Tableau& method, const PerSample<T, L>& hs, const SolveOptions& options,
                      int64_t iteration, double* ratio) {
        const T rtol = static_cast<T>(options.rtol), atol = static_cast<T>(options.atol);
        const T* k[7];
        T e[7];
        for (int j = 0; j < 7; ++j) {
            k[j] = j < 6 ? tape_->slot(iteration, j).derivative() : tape_->slot(iteration + 1, 0).derivative();
            e[j] = static_cast<T>(method.e[j]);
        }
        gene_sums<T, L>(rows_, ratio, [&](int64_t i, int part) {
            V error = e[0] * at(k[0], i) + e[2] * at(k[2], i);  // e[1] is 0
            error += e[3] * at(k[3], i);
            error += e[4] * at(k[4], i);
            error += e[5] * at(k[5], i);
            error += e[6] * at(k[6], i);
            const V scale = atol + rtol * vmax(vabs(at(y, i)), vabs(at(y_new_, i)));
            const V q = error * hs.v[part] / scale;
            return q * q;
        });
        for (int l = 0; l < L; ++l) ratio[l] = norm(ratio[l]);
    }

    void zero_or_nan(double* ratio) const {
        gene_sums<T, L>(rows_, ratio, [&](int64_t i, int) { return at(y_new_, i) * T(0); });
    }

    // Samples that accepted take the new state. The next first stage is at the new state; it is right for samples that
    // are done too (their step was 0), but those that try again or gave up need theirs back.
    void advance(int n, const double* size, const bool* accepted, const double* ratio, const LaneResult* result,
                 int64_t iteration) {
        T* swap = y;
        y = y_new_, y_new_ = swap;
        for (int l = 0; l < n; ++l) {
            const bool finite = std::isfinite(ratio[l]);
            if (accepted[l] || (size[l] == 0 && finite && result[l].status == kSolved)) continue;
            copy_lane<T, L>(y_new_, y, l, rows_);
            tape_->slot(iteration + 1, 0).copy_lane_from(tape_->slot(iteration, 0), l);
            // the step counts as 0 in the gradients, but 0 times infinity would not
            for (int i = 0; i < kStages && !finite; ++i) tape_->slot(iteration, i).clear_lane(l);
        }
    }

    double norm(double sum) const { return std::sqrt(sum / model_->G); }

    Buffer<T> memory_;
    const Model<T>* model_ = nullptr;
    Tape<T, L>* tape_ = nullptr;
    int64_t rows_ = 0;
    T *y_new_ = nullptr, *stage_ = nullptr, *rates_ = nullptr, *scratch_ = nullptr;
};

}  // namespace DASH_ISA
}  // namespace dash
