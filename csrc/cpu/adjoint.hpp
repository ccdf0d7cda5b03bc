// Reverse sweep over the iterations of a tape (discrete adjoint). Samples that rejected an iteration, or were done, took
// a step of size 0 there and get no gradient from it. Weight gradients are formed as one product over many slots.
#pragma once
#include "../core/trust.hpp"
#include "integrate.hpp"

namespace dash {
namespace DASH_ISA {

// Gradients of the seven tensors; the matrices in the order of Matrix::value.
template <class T>
struct Gradients {
    Buffer<T> W[2], U[2], b[2], v;

    void clear(const Model<T>& model) {
        for (int k = 0; k < 2; ++k) {
            W[k].zeros(model.W[k].count());
            U[k].zeros(model.U[k].count());
            b[k].zeros(padded(model.m));
        }
        v.zeros(padded(model.G));
    }

    T* of(int tensor) {
        const int k = Model<T>::branch(tensor);
        if (tensor == V) return v.data();
        if (tensor == W_SUMS || tensor == W_PRODS) return W[k].data();
        if (tensor == U_SUMS || tensor == U_PRODS) return U[k].data();
        return b[k].data();
    }

    // Products over slots that lie ``stride`` apart, after their reverse, for all tensors but v.
    template <int L>
    void add(const Model<T>& model, const Slot<T, L>& s, int64_t stride, int64_t slots) {
        model.U[0].template add_outer<L>(s.hidden_sums(), s.derivative(), stride, slots, U[0].data(), packed_);
        model.U[1].template add_outer<L>(s.hidden_prods(), s.derivative(), stride, slots, U[1].data(), packed_);
        model.W[0].template add_outer<L>(s.bar_sums(), s.sums(), stride, slots, W[0].data(), packed_);
        model.W[1].template add_outer<L>(s.bar_prods(), s.prods(), stride, slots, W[1].data(), packed_);
        for (int k = 0; k < 2; ++k) {
            const T* first = k ? s.bar_prods() : s.bar_sums();
            for (int64_t h = 0; h < model.m; ++h) {
                T total = 0;
                for (int64_t slot = 0; slot < slots; ++slot)
                    for (int l = 0; l < L; ++l) total += first[slot * stride + h * L + l];
                b[k][h] += total;
            }
        }
    }

    // v_bar gathers upstream * relu(v) * (c - y); dividing by v leaves the gradient of v.
    template <int L>
    void add_rates(const Model<T>& model, const T* v_bar) {
        for (int64_t g = 0; g < model.G; ++g) {
            if (!(model.rate[g] > T(0))) continue;
            T total = 0;
            for (int l = 0; l < L; ++l) total += v_bar[g * L + l];
            v[g] += total / model.rate[g];
        }
    }

  private:
    Buffer<T> packed_;
};

template <class T, int L>
class ReverseSweep {
  public:
    typedef Vec<T> V;

    T* bar = nullptr;  // [rows][L]: gradient for the end states goes in, for the start states comes out
    Trust trust[L];    // in it, after run

    void prepare(const Model<T>& model) {
        model_ = &model;
        rows_ = padded(model.G), hidden_ = padded(model.m);
        const int64_t tile = rows_ * L;
        T* p = memory_.zeros((6 + kStages) * tile);
        bar = p, k_bar_ = p + tile, v_bar_ = p + 2 * tile, stage_ = p + 3 * tile, scratch_ = p + 4 * tile;
        rates_ = p + 5 * tile;
        for (int i = 0; i < kStages; ++i) y_bar_[i] = p + (6 + i) * tile;
        model.template rate_tile<L>(rates_);
    }

    void run(Tape<T, L>& tape, int method_number, Gradients<T>& grads) {
        const Tableau& method = tableau(method_number);
        std::memset(v_bar_, 0, rows_ * L * sizeof(T));
        for (Trust& lane : trust) lane = fresh_trust();
        constexpr int64_t chunk = Tape<T, L>::kChunk;
        for (int64_t end = tape.iterations(); end > 0;) {
            // slots of a chunk lie together, so that one product over them forms the gradients
            const int64_t first = (end - 1) / chunk * chunk;
            if (!tape.has_slots(first))
                for (int64_t n = first; n < end; ++n) evaluate_again(method, tape, n);
            for (int64_t n = end - 1; n >= first; --n) one_step(method, tape, n);
            grads.add(*model_, tape.slot(first, 0), tape.slot_size(), (end - first) * kStages);
            end = first;
        }
        grads.template add_rates<L>(*model_, v_bar_);
    }

  private:
    void evaluate_again(const Tableau& method, Tape<T, L>& tape, int64_t n) {
        const T* y = tape.state(n);
        const PerSample<T, L> h(tape.size(n));
        model_->template rhs<L>(y, rates_, tape.slot(n, 0), scratch_);
        for (int i = 1; i < method.stages; ++i)
            evaluate_stage<T, L>(*model_, method, i, h, tape, n, y, stage_, rates_, scratch_);
    }

    void one_step(const Tableau& method, Tape<T, L>& tape, int64_t n) {
        const PerSample<T, L> h(tape.size(n));
        for (int i = method.stages - 1; i >= 0; --i) {
            Terms<T, L> terms;
            terms.add(h, method.b[i], bar);
            for (int l = i + 1; l < method.stages; ++l) terms.add(h, method.a[l][i], y_bar_[l]);
            combine<T, L>(nullptr, terms.coefficient, terms.k, terms.n, k_bar_, rows_);
            model_->template reverse<L>(k_bar_, rates_, tape.slot(n, i), v_bar_, y_bar_[i], scratch_);
        }
        check(method, tape.size(n));
        const int64_t vectors = Layout<T, L>::vectors(rows_);
        for (int64_t i = 0; i < vectors; ++i) {
            V sum = at(y_bar_[0], i);
            for (int stage = 1; stage < method.stages; ++stage) sum += at(y_bar_[stage], i);
            at(bar, i) += sum;
        }
        for (int i = method.stages; i < kStages; ++i) {
            // slots that the method does not use must not act in the products
            const Slot<T, L> unused = tape.slot(n, i);
            std::memset(unused.memory(), 0, tape.slot_size() * sizeof(T));
        }
    }

    // The step's part in trust, with genes weighted by their rates, as in the gradients of the weights. The integral is
    // h times bar + sum of c[i] * y_bar[i], since the weights b sum to 1.
    void check(const Tableau& method, const T* size) {
        double error[L], adjoint[L], integral[L];
        T d[kStages], c[kStages] = {};
        for (int i = 0; i < method.stages; ++i) {
            d[i] = static_cast<T>(method.adjoint.d[i]);
            for (int j = 0; j < i; ++j) c[i] += static_cast<T>(method.a[i][j]);
        }
        gene_sums<T, L>(rows_, error, [&](int64_t i, int) {
            V sum = d[0] * at(y_bar_[0], i);
            for (int j = 1; j < method.stages; ++j) sum += d[j] * at(y_bar_[j], i);
            sum *= at(rates_, i);
            return sum * sum;
        });
        gene_sums<T, L>(rows_, adjoint, [&](int64_t i, int) {
            const V entering = at(rates_, i) * at(bar, i);
            return entering * entering;
        });
        gene_sums<T, L>(rows_, integral, [&](int64_t i, int) {
            V sum = at(bar, i);
            for (int j = 1; j < method.stages; ++j) sum += c[j] * at(y_bar_[j], i);
            sum *= at(rates_, i);
            return sum * sum;
        });
        for (int l = 0; l < L; ++l) {
            const double h = double(size[l]);
            trust_step(trust[l], method.adjoint, h, error[l], adjoint[l], h * h * integral[l]);
        }
    }

    Buffer<T> memory_;
    const Model<T>* model_ = nullptr;
    int64_t rows_ = 0, hidden_ = 0;
    T *k_bar_ = nullptr, *v_bar_ = nullptr, *stage_ = nullptr, *scratch_ = nullptr, *rates_ = nullptr;
    T* y_bar_[kStages] = {};
};

}  // namespace DASH_ISA
}  // namespace dash
