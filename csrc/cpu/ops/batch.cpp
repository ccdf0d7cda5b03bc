// The work of a batch, compiled once for all operators that use it.
#include "../batch.hpp"

#include "../../core/observed.hpp"
#include "../adam.hpp"

namespace dash {
namespace DASH_ISA {

template <class T>
Batch<T>::Batch(const Objective<T>& objective, const Params<T>& params, int64_t widest, Watch* watch, Workspace<T>& workspace)
    : a_(objective), options_(objective.options), G_(params.G), workspace_(workspace) {
    model.load(params, widest, watch);
}

template <class T>
void Batch<T>::run(const int64_t* index, int64_t B) {
    status = kSolved;
    loss = trusted(index, B);
    prior = a_.prior.points > 0 && status == kSolved ? prior_.run(model, a_.prior, 1 - a_.tau, grads) : 0;
    if (status == kSolved && !(std::isfinite(loss + prior) && finite())) status = kNonFinite;
}

// Gradients of the mean squared error over the batch's observed values; returns it and sets the status. Where a
// gradient is not to be trusted, the batch is done again with shorter steps.
template <class T>
double Batch<T>::trusted(const int64_t* index, int64_t B) {
    options_.longest = 0;
    for (int tries = 0; tries < kTries; ++tries) {
        longest_ = INFINITY;
        const double found = so(index, B);
        if (status != kSolved || std::isinf(longest_)) return found;
        options_.longest = longest_;
    }
    status = kDoubtfulGradient;
    return 0;
}

// The same with steps of at most options_.longest; longest_ becomes the shortest that a sample asks for.
template <class T>
double Batch<T>::so(const int64_t* index, int64_t B) {
    grads.clear(model);
    double total = 0;
    const double values = double(observed_values(a_.y1, G_, index, B));
    samples_.reserve(B);
    if (B) std::memcpy(samples_.data(), index, B * sizeof(int64_t));
    for_tiles(samples_.data(), B, a_.dt, model.tiles(), [&](auto lanes, const int64_t* sample, int n) {
        if (status != kSolved) return;
        if constexpr (decltype(lanes)::value == 4)
            total += tile(workspace_.narrow, sample, n, values);
        else
            total += tile(workspace_.wide, sample, n, values);
    });
    return total / values;
}

template <class T>
template <int L>
double Batch<T>::tile(TrainTile<T, L>& lanes, const int64_t* index, int n, double values) {
    const T* row[L];
    double dt[L] = {};
    LaneResult result[L];
    for (int l = 0; l < n; ++l) row[l] = a_.y0 + index[l] * G_, dt[l] = a_.dt[index[l]];
    lanes.integrator.prepare(model, lanes.tape, true);
    load_tile<T, L>(row, n, G_, lanes.integrator.y);
    lanes.integrator.run(n, dt, options_, result, [](int, double) {});
    for (int l = 0; l < n; ++l) {
        evaluations += result[l].evaluations;
        if (result[l].status > status) status = result[l].status;
    }
    if (status != kSolved) return 0;
    const T scale = static_cast<T>(2.0 * a_.tau / values);
    lanes.sweep.prepare(model);
    T* bar = lanes.sweep.bar;
    double total = 0;
    for (int l = 0; l < n; ++l) {
        const T* target = a_.y1 + index[l] * G_;
        for (int64_t g = 0; g < G_; ++g) {
            const T miss = missed_by(lanes.integrator.y[g * L + l], target[g]);
            total += double(miss) * double(miss);
            bar[g * L + l] = scale * miss;
        }
    }
    lanes.sweep.run(lanes.tape, options_.method, grads);
    for (int l = 0; l < n; ++l) {
        const double step = trusted_step(lanes.sweep.trust[l], tableau(options_.method).adjoint);
        longest_ = step < longest_ ? step : longest_;
    }
    return total;
}

template <class T>
bool Batch<T>::finite() {
    for (int i = 0; i < N_TENSORS; ++i)
        if (!all_finite(grads.of(i), model.count(i))) return false;
    return true;
}

template class Batch<float>;
template class Batch<double>;

}  // namespace DASH_ISA
}  // namespace dash
