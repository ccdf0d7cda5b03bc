// Reverse sweep over the accepted steps of a tile (discrete adjoint): stages are recomputed from the stored states,
// weight gradients are formed as one product over stages x lanes once enough of them have gathered.
#pragma once
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
            b[k].zeros(model.m);
        }
        v.zeros(model.G);
    }
};

template <class T, int L>
class ReverseSweep {
  public:
    typedef vec<T, L> V;

    T* bar = nullptr;  // [G][L]: gradient for the end states goes in, for the start states comes out

    void prepare(const Model<T>& model) {
        model_ = &model;
        const int64_t G = model.G, m = model.m;
        slot_ = (3 * G + 4 * m) * L;
        constexpr int64_t budget = 512 * 1024;
        slots_ = budget / (slot_ * int64_t(sizeof(T)));
        slots_ = slots_ < kStages ? kStages : (slots_ > 8 * kStages ? 8 * kStages : slots_);
        T* p = memory_.reserve((5 * G + 2 * kStages * G) * L + slots_ * slot_);
        auto take = [&p](int64_t n) { T* at = p; p += n * L; return at; };
        bar = take(G), state_ = take(G), stage_ = take(G), scratch_ = take(G), v_bar_ = take(G);
        for (auto& k : k_) k = take(G);
        for (auto& k : k_bar_) k = take(G);
        slot_memory_ = p;
    }

    void run(const Tape<T, L>& tape, int method_number, Gradients<T>& grads) {
        const Tableau& method = tableau(method_number);
        const int64_t G = model_->G;
        std::memset(v_bar_, 0, G * L * sizeof(T));
        used_ = 0;
        const int64_t steps = tape.longest();
        for (int64_t back = 0; back < steps; ++back) {
            V h;
            tape.from_end(back, state_, h, G);
            if (used_ + method.stages > slots_) flush(grads);
            one_step(method, h);
        }
        flush(grads);
        const V* total = reinterpret_cast<const V*>(v_bar_);
        // v_bar_ gathers upstream * relu(v) * (c - y); dividing by v leaves the gradient of v
        for (int64_t g = 0; g < G; ++g)
            if (model_->rate[g] > T(0)) grads.v[g] += lane_sum<T, L>(total[g]) / model_->rate[g];
    }

  private:
    static constexpr int64_t kStages = 6;

    Trace<T> trace(int64_t s) const {
        const int64_t G = model_->G, m = model_->m;
        T* p = slot_memory_ + s * slot_;
        return {p, p + G * L, p + 3 * G * L, p + (3 * G + m) * L};
    }
    Bars<T> bars(int64_t s) const {
        const int64_t G = model_->G, m = model_->m;
        T* p = slot_memory_ + s * slot_;
        return {p + 2 * G * L, p + (3 * G + 2 * m) * L, p + (3 * G + 3 * m) * L};
    }

    void one_step(const Tableau& method, V h) {
        const int64_t G = model_->G;
        for (int i = 0; i < method.stages; ++i) {
            combine<T, L>(state_, method.a[i], i, h, k_, stage_, G);
            model_->template rhs<L>(stage_, k_[i], trace(used_ + i));
        }
        for (int i = 0; i < method.stages; ++i) {
            const V weight = h * static_cast<T>(method.b[i]);
            for (int64_t g = 0; g < G; ++g) at(k_bar_[i], g) = weight * at(bar, g);
        }
        for (int i = method.stages - 1; i >= 0; --i) {
            for (int64_t g = 0; g < G; ++g) at(v_bar_, g) += at(k_bar_[i], g) * at(k_[i], g);
            // stage_ is free now and takes the gradient for the stage's state
            model_->template reverse<L>(k_bar_[i], trace(used_ + i), bars(used_ + i), stage_, scratch_);
            for (int64_t g = 0; g < G; ++g) at(bar, g) += at(stage_, g);
            for (int j = 0; j < i; ++j) {
                if (method.a[i][j] == 0) continue;
                const V weight = h * static_cast<T>(method.a[i][j]);
                for (int64_t g = 0; g < G; ++g) at(k_bar_[j], g) += weight * at(stage_, g);
            }
        }
        used_ += method.stages;
    }

    void flush(Gradients<T>& grads) {
        if (used_ == 0) return;
        const Trace<T> t = trace(0);
        const Bars<T> s = bars(0);
        const Model<T>& model = *model_;
        model.U[0].template add_outer<L>(s.scaled, slot_, t.hidden_sums, slot_, used_, grads.U[0].data());
        model.U[1].template add_outer<L>(s.scaled, slot_, t.hidden_prods, slot_, used_, grads.U[1].data());
        model.W[0].template add_outer<L>(s.hidden_sums, slot_, t.sums, slot_, used_, grads.W[0].data());
        model.W[1].template add_outer<L>(s.hidden_prods, slot_, t.prods, slot_, used_, grads.W[1].data());
        for (int64_t h = 0; h < model.m; ++h) {
            V sums = {}, prods = {};
            for (int64_t i = 0; i < used_; ++i) {
                sums += at(s.hidden_sums + i * slot_, h);
                prods += at(s.hidden_prods + i * slot_, h);
            }
            grads.b[0][h] += lane_sum<T, L>(sums);
            grads.b[1][h] += lane_sum<T, L>(prods);
        }
        used_ = 0;
    }

    static V& at(T* p, int64_t g) { return reinterpret_cast<V*>(p)[g]; }
    static V at(const T* p, int64_t g) { return reinterpret_cast<const V*>(p)[g]; }

    Buffer<T> memory_;
    const Model<T>* model_ = nullptr;
    T *state_ = nullptr, *stage_ = nullptr, *scratch_ = nullptr, *v_bar_ = nullptr, *slot_memory_ = nullptr;
    T *k_[kStages] = {}, *k_bar_[kStages] = {};
    int64_t slot_ = 0, slots_ = 0, used_ = 0;
};

}  // namespace DASH_ISA
}  // namespace dash
