// The PHOENIX right-hand side and its reverse on a tile of L samples. States are [G][L], hidden units [m][L].
#pragma once
#include "../core/types.hpp"
#include "matrix.hpp"

namespace dash {
namespace DASH_ISA {

// What the reverse needs from one evaluation of the right-hand side.
template <class T>
struct Trace {
    T *sums, *prods;                 // activations [G][L]
    T *hidden_sums, *hidden_prods;   // [m][L], after exp
};

// What the weight gradients need from one reverse evaluation.
template <class T>
struct Bars {
    T* scaled;                       // relu(v) * upstream, [G][L]
    T *hidden_sums, *hidden_prods;   // before exp, [m][L]
};

template <class T>
class Model {
  public:
    int64_t G = 0, m = 0;
    Matrix<T> W[2], U[2];  // sums, prods
    Buffer<T> b[2], v, rate;  // rate = relu(v)

    void load(const Params<T>& p, bool backward) {
        G = p.G, m = p.m;
        for (int k = 0; k < 2; ++k) {
            W[k].load(p.tensor[k ? W_PRODS : W_SUMS], p.mask[k ? W_PRODS : W_SUMS], m, G);
            U[k].load(p.tensor[k ? U_PRODS : U_SUMS], p.mask[k ? U_PRODS : U_SUMS], G, m);
            b[k].reserve(m);
            std::memcpy(b[k].data(), p.tensor[k ? B_PRODS : B_SUMS], m * sizeof(T));
            if (backward) W[k].transpose(), U[k].transpose();
        }
        v.reserve(G);
        std::memcpy(v.data(), p.tensor[V], G * sizeof(T));
        refresh(false);
    }

    // After the values changed: everything derived from them.
    void refresh(bool backward) {
        rate.reserve(G);
        for (int64_t g = 0; g < G; ++g) rate[g] = v[g] > T(0) ? v[g] : T(0);
        if (backward)
            for (int k = 0; k < 2; ++k) W[k].refresh(), U[k].refresh();
    }

    // dy = relu(v) * (c(y) - y)
    template <int L>
    void rhs(const T* y, T* dy, const Trace<T>& t) const {
        typedef vec<T, L> V;
        for (int64_t g = 0; g < G; ++g) {
            const V x = reinterpret_cast<const V*>(y)[g];
            activations<T, L>(x, reinterpret_cast<V*>(t.sums)[g], reinterpret_cast<V*>(t.prods)[g]);
        }
        W[0].template apply<L>(t.sums, t.hidden_sums, b[0].data(), false);
        W[1].template apply<L>(t.prods, t.hidden_prods, b[1].data(), false);
        V* hidden = reinterpret_cast<V*>(t.hidden_prods);
        for (int64_t h = 0; h < m; ++h) hidden[h] = vexp<L>(hidden[h]);
        U[0].template apply<L>(t.hidden_sums, dy, nullptr, false);
        U[1].template apply<L>(t.hidden_prods, dy, nullptr, true);
        V* out = reinterpret_cast<V*>(dy);
        for (int64_t g = 0; g < G; ++g) out[g] = rate[g] * (out[g] - reinterpret_cast<const V*>(y)[g]);
    }

    // Reverse of rhs at the state whose trace is t: upstream [G][L] -> gradient for y in y_bar; scratch [G][L].
    template <int L>
    void reverse(const T* upstream, const Trace<T>& t, const Bars<T>& bars, T* y_bar, T* scratch) const {
        typedef vec<T, L> V;
        V* scaled = reinterpret_cast<V*>(bars.scaled);
        for (int64_t g = 0; g < G; ++g) scaled[g] = rate[g] * reinterpret_cast<const V*>(upstream)[g];
        U[0].template apply_transposed<L>(bars.scaled, bars.hidden_sums);
        U[1].template apply_transposed<L>(bars.scaled, bars.hidden_prods);
        V* hidden = reinterpret_cast<V*>(bars.hidden_prods);
        for (int64_t h = 0; h < m; ++h) hidden[h] *= reinterpret_cast<const V*>(t.hidden_prods)[h];
        W[0].template apply_transposed<L>(bars.hidden_sums, y_bar);
        W[1].template apply_transposed<L>(bars.hidden_prods, scratch);
        V* out = reinterpret_cast<V*>(y_bar);
        for (int64_t g = 0; g < G; ++g) {
            const V sums = reinterpret_cast<const V*>(t.sums)[g];
            const V near = T(1) - vabs<T, L>(sums);  // 1 / (1 + |u|)
            const V slope = near * near;
            out[g] = slope * (out[g] + reinterpret_cast<const V*>(scratch)[g] / (T(1) + sums)) - scaled[g];
        }
    }
};

}  // namespace DASH_ISA
}  // namespace dash
