// train_epoch: solve, mean squared error, discrete adjoint and masked Adam for every batch of an epoch.
#include "../core/observed.hpp"
#include "adjoint.hpp"
#include "operators.hpp"
#include "prior_loss.hpp"

namespace dash {
namespace DASH_ISA {

template <class T, int L>
struct TrainTile {
    Integrator<T, L> integrator;
    Tape<T, L> tape;
    ReverseSweep<T, L> sweep;
};

template <class T>
class Trainer {
  public:
    explicit Trainer(TrainArgs<T>& args) : a_(args), options_(args.options) {
        Params<T> params{args.G, args.m, {}, {}, {}};
        for (int i = 0; i < N_TENSORS; ++i) {
            params.tensor[i] = args.weight[i], params.mask[i] = args.mask[i];
            params.structure[i] = args.structure[i];
        }
        int64_t batch = 0;
        for (int64_t k = 0; k < args.n_batches; ++k) {
            const int64_t size = args.batch_ptr[k + 1] - args.batch_ptr[k];
            batch = size > batch ? size : batch;
        }
        model_.load(params, batch, args.watch);
        for (int i = 0; i < N_TENSORS; ++i) {
            moment1_[i].reserve(count(i));
            moment2_[i].reserve(count(i));
            pack(i, args.moment1[i], moment1_[i].data());
            pack(i, args.moment2[i], moment2_[i].data());
        }
    }

    void epoch() {
        a_.evaluations = 0;
        a_.status = kSolved;
        for (int64_t k = 0; k < a_.n_batches && a_.status == kSolved; ++k) {
            const double loss = gradients(a_.batch_index + a_.batch_ptr[k], a_.batch_ptr[k + 1] - a_.batch_ptr[k]);
            const double prior = a_.prior.points > 0 && a_.status == kSolved
                                     ? prior_.run(model_, a_.prior, 1 - a_.tau, grads_)
                                     : 0;
            if (a_.status == kSolved && !(std::isfinite(loss + prior) && finite())) a_.status = kNonFinite;
            if (a_.status != kSolved) break;
            a_.loss[k] = loss;
            adam();
        }
        for (int i = 0; i < N_TENSORS; ++i) {
            unload(i, value(i), a_.weight[i]);
            unload(i, moment1_[i].data(), a_.moment1[i]);
            unload(i, moment2_[i].data(), a_.moment2[i]);
        }
    }

  private:
    static int branch(int i) { return i == W_PRODS || i == B_PRODS || i == U_PRODS; }
    Matrix<T>* matrix(int i) {
        if (i == W_SUMS || i == W_PRODS) return &model_.W[branch(i)];
        if (i == U_SUMS || i == U_PRODS) return &model_.U[branch(i)];
        return nullptr;
    }
    int64_t count(int i) { return matrix(i) ? matrix(i)->count() : i == V ? a_.G : a_.m; }
    T* value(int i) { return matrix(i) ? matrix(i)->value.data() : i == V ? model_.v.data() : model_.b[branch(i)].data(); }
    T* gradient(int i) {
        if (i == V) return grads_.v.data();
        if (i == W_SUMS || i == W_PRODS) return grads_.W[branch(i)].data();
        if (i == U_SUMS || i == U_PRODS) return grads_.U[branch(i)].data();
        return grads_.b[branch(i)].data();
    }
    void pack(int i, const T* from, T* to) {
        if (matrix(i))
            matrix(i)->pack(from, to);
        else
            std::memcpy(to, from, count(i) * sizeof(T));
    }
    void unload(int i, const T* from, T* to) {
        if (matrix(i))
            matrix(i)->unload(from, to);
        else
            std::memcpy(to, from, count(i) * sizeof(T));
    }

    // Gradients of the mean squared error over the batch's observed values; returns the loss and sets the status. Where
    // one is not to be trusted, the batch is done again with shorter steps.
    double gradients(const int64_t* index, int64_t B) {
        options_.longest = 0;
        for (int tries = 0; tries < kTries; ++tries) {
            trusted_ = INFINITY;
            const double loss = gradients_so(index, B);
            if (a_.status != kSolved || std::isinf(trusted_)) return loss;
            options_.longest = trusted_;
        }
        a_.status = kDoubtfulGradient;
        return 0;
    }

    // The same with steps of at most options_.longest; trusted_ becomes the shortest that a sample asks for.
    double gradients_so(const int64_t* index, int64_t B) {
        grads_.clear(model_);
        double loss = 0;
        const double values = double(observed_values(a_.y1, a_.G, index, B));
        samples_.reserve(B);
        if (B) std::memcpy(samples_.data(), index, B * sizeof(int64_t));
        for_tiles(samples_.data(), B, a_.dt, model_.tiles(), [&](auto lanes, const int64_t* sample, int n) {
            if (a_.status != kSolved) return;
            if constexpr (decltype(lanes)::value == 4)
                loss += tile(narrow_, sample, n, values);
            else
                loss += tile(wide_, sample, n, values);
        });
        return loss / values;
    }

    template <int L>
    double tile(TrainTile<T, L>& lanes, const int64_t* index, int n, double values) {
        const int64_t G = a_.G;
        const T* row[L];
        double dt[L] = {};
        LaneResult result[L];
        for (int l = 0; l < n; ++l) row[l] = a_.y0 + index[l] * G, dt[l] = a_.dt[index[l]];
        lanes.integrator.prepare(model_, lanes.tape, true);
        load_tile<T, L>(row, n, G, lanes.integrator.y);
        lanes.integrator.run(n, dt, options_, result, [](int, double) {});
        for (int l = 0; l < n; ++l) {
            a_.evaluations += result[l].evaluations;
            if (result[l].status > a_.status) a_.status = result[l].status;
        }
        if (a_.status != kSolved) return 0;
        const T scale = static_cast<T>(2.0 * a_.tau / values);
        lanes.sweep.prepare(model_);
        T* bar = lanes.sweep.bar;
        double total = 0;
        for (int l = 0; l < n; ++l) {
            const T* target = a_.y1 + index[l] * G;
            for (int64_t g = 0; g < G; ++g) {
                const T miss = missed_by(lanes.integrator.y[g * L + l], target[g]);
                total += double(miss) * double(miss);
                bar[g * L + l] = scale * miss;
            }
        }
        lanes.sweep.run(lanes.tape, options_.method, grads_);
        for (int l = 0; l < n; ++l) {
            const double step = trusted_step(lanes.sweep.trust[l], tableau(options_.method).adjoint);
            trusted_ = step < trusted_ ? step : trusted_;
        }
        return total;
    }

    bool finite() {
        for (int i = 0; i < N_TENSORS; ++i) {
            const T* g = gradient(i);
            const int64_t n = count(i);
            T sum = 0;
            for (int64_t k = 0; k < n; ++k) sum += g[k] * T(0);
            if (!(sum == T(0))) return false;
        }
        return true;
    }

    void adam() {
        ++a_.step;
        const T b1 = static_cast<T>(a_.beta1), b2 = static_cast<T>(a_.beta2), eps = static_cast<T>(a_.eps);
        const double correction1 = 1 - std::pow(a_.beta1, double(a_.step));
        const T scale2 = static_cast<T>(1 / std::sqrt(1 - std::pow(a_.beta2, double(a_.step))));
        const T r1 = static_cast<T>(1 - a_.beta1), r2 = static_cast<T>(1 - a_.beta2);
        for (int i = 0; i < N_TENSORS; ++i) {
            T *w = value(i), *m1 = moment1_[i].data(), *m2 = moment2_[i].data();
            T* g = gradient(i);
            const int64_t n = count(i);
            const T rate = static_cast<T>(a_.lr[i] / correction1);
            const bool masked = matrix(i) && matrix(i)->masked;
            const uint8_t* active = masked ? matrix(i)->active.data() : nullptr;
            if (masked)
                for (int64_t k = 0; k < n; ++k) g[k] = active[k] ? g[k] : T(0);
            for (int64_t k = 0; k < n; ++k) {
                m1[k] = b1 * m1[k] + r1 * g[k];
                m2[k] = b2 * m2[k] + r2 * (g[k] * g[k]);
                w[k] -= rate * m1[k] / (std::sqrt(m2[k]) * scale2 + eps);
            }
            if (masked)
                for (int64_t k = 0; k < n; ++k)
                    if (!active[k]) w[k] = m1[k] = m2[k] = T(0);
        }
        model_.refresh();
    }

    TrainArgs<T>& a_;
    SolveOptions options_;
    double trusted_ = INFINITY;
    Model<T> model_;
    Gradients<T> grads_;
    Buffer<int64_t> samples_;
    Buffer<T> moment1_[N_TENSORS], moment2_[N_TENSORS];
    TrainTile<T, 4> narrow_;
    TrainTile<T, 16> wide_;
    PriorSweep<T> prior_;
};

void train_f32(TrainArgs<float>& args) { Trainer<float>(args).epoch(); }
void train_f64(TrainArgs<double>& args) { Trainer<double>(args).epoch(); }

}  // namespace DASH_ISA
}  // namespace dash
