// The PHOENIX right-hand side and its reverse on a tile of L samples: states [padded G][L], hidden units [padded m][L].
#pragma once
#include "../core/types.hpp"
#include "matrix.hpp"

namespace dash {
namespace DASH_ISA {

// What one evaluation of the right-hand side leaves for its reverse, and what the reverse leaves for the weight
// gradients. One block of memory, or the derivative alone beside values that slots share, where there is no reverse; the
// derivative is overwritten by the reverse.
template <class T, int L>
class Slot {
  public:
    Slot() = default;
    Slot(T* memory, int64_t rows, int64_t hidden) : Slot(memory, memory + rows * L, rows, hidden) {}
    Slot(T* derivative, T* values, int64_t rows, int64_t hidden)
        : d_(derivative), p_(values), rows_(rows * L), hidden_(hidden * L) {}
    // An odd number of cache lines apart, so that one row of many slots does not fall into few sets of the cache.
    static int64_t size(int64_t rows, int64_t hidden) {
        const int64_t line = 64 / int64_t(sizeof(T)), lines = ((3 * rows + 4 * hidden) * L + line - 1) / line;
        return (lines | 1) * line;
    }

    T* derivative() const { return d_; }                                   // dy/dt; after the reverse: relu(v) * upstream
    T* sums() const { return p_; }                                         // activations [rows][L]
    T* prods() const { return p_ + rows_; }
    T* hidden_sums() const { return p_ + 2 * rows_; }                      // [hidden][L]
    T* hidden_prods() const { return p_ + 2 * rows_ + hidden_; }           // after exp
    T* bar_sums() const { return p_ + 2 * rows_ + 2 * hidden_; }           // gradients before exp
    T* bar_prods() const { return p_ + 2 * rows_ + 3 * hidden_; }
    T* memory() const { return d_; }

    // Take over one sample's forward values.
    void copy_lane_from(const Slot& from, int lane) const {
        for (int64_t i = lane; i < rows_; i += L) d_[i] = from.d_[i];
        for (int64_t i = lane; i < 2 * rows_ + 2 * hidden_; i += L) p_[i] = from.p_[i];
    }
    void clear_lane(int lane) const {
        for (int64_t i = lane; i < rows_; i += L) d_[i] = T(0);
        for (int64_t i = lane; i < 2 * rows_ + 2 * hidden_; i += L) p_[i] = T(0);
    }

  private:
    T *d_ = nullptr, *p_ = nullptr;
    int64_t rows_ = 0, hidden_ = 0;
};

template <class T>
class Model {
  public:
    int64_t G = 0, m = 0;
    Matrix<T> W[2], U[2];     // sums, prods
    Buffer<T> b[2], v, rate;  // padded; rate = relu(v)

    // batch: how many samples the products will mostly see at once.
    void load(const Params<T>& p, int64_t batch, Watch* watch) {
        G = p.G, m = p.m, watch_ = watch;
        const double below = batch <= 4 ? kSparseNarrow : fits_cache() ? kSparseWide : kSparseLarge;
        for (int k = 0; k < 2; ++k) {
            const int w = k ? W_PRODS : W_SUMS, u = k ? U_PRODS : U_SUMS;
            W[k].load({p.tensor[w], p.mask[w], p.structure[w], false}, m, G, below);
            U[k].load({p.tensor[u], p.mask[u], p.structure[u], true}, m, G, below);
            b[k].zeros(padded(m));
            std::memcpy(b[k].data(), p.tensor[k ? B_PRODS : B_SUMS], m * sizeof(T));
            W[k].prepare(), U[k].prepare();
        }
        work_ = W[0].count() + W[1].count() + U[0].count() + U[1].count() + 16 * (G + m);
        v.zeros(padded(G));
        std::memcpy(v.data(), p.tensor[V], G * sizeof(T));
        rates();
    }

    // After the values changed: everything derived from them.
    void refresh() {
        for (int k = 0; k < 2; ++k) W[k].refresh(), U[k].refresh();
        rates();
    }

    // The tensors by number: their matrix (null for vectors), values and how many there are, in this order of the values.
    Matrix<T>* matrix(int tensor) {
        if (tensor == W_SUMS || tensor == W_PRODS) return &W[branch(tensor)];
        if (tensor == U_SUMS || tensor == U_PRODS) return &U[branch(tensor)];
        return nullptr;
    }
    int64_t count(int tensor) { return matrix(tensor) ? matrix(tensor)->count() : tensor == V ? G : m; }
    T* values(int tensor) {
        if (matrix(tensor)) return matrix(tensor)->value.data();
        return tensor == V ? v.data() : b[branch(tensor)].data();
    }
    // 1 = active, or null where all values are.
    const uint8_t* active(int tensor) {
        return matrix(tensor) && matrix(tensor)->masked ? matrix(tensor)->active.data() : nullptr;
    }
    static int branch(int tensor) { return tensor == W_PRODS || tensor == B_PRODS || tensor == U_PRODS; }

    // An array of a tensor from the caller's order into that of the values, and back.
    void pack(int tensor, const T* from, T* to) {
        if (matrix(tensor))
            matrix(tensor)->pack(from, to);
        else
            std::memcpy(to, from, count(tensor) * sizeof(T));
    }
    void unload(int tensor, const T* from, T* to) {
        if (matrix(tensor))
            matrix(tensor)->unload(from, to);
        else
            std::memcpy(to, from, count(tensor) * sizeof(T));
    }

    // The rate of each gene as a tile, for elementwise products.
    template <int L>
    void rate_tile(T* tile) const {
        for (int64_t g = 0; g < padded(G); ++g)
            for (int l = 0; l < L; ++l) tile[g * L + l] = rate[g];
    }

    // slot.derivative = relu(v) * (c(y) - y); scratch: a tile of genes
    template <int L>
    void rhs(const T* y, const T* rates, const Slot<T, L>& slot, T* scratch) const {
        activate<L, 0>(y, nullptr, nullptr, nullptr, slot);
        derivative(y, rates, slot, scratch);
    }

    // The same at the state y = base + the sum of terms, which is stored.
    template <int L>
    void rhs_at(const T* base, const Terms<T, L>& terms, T* y, const T* rates, const Slot<T, L>& slot,
                T* scratch) const {
        switch (terms.n) {
#define DASH_CASE(N)                                                    \
    case N:                                                             \
        activate<L, N>(base, terms.coefficient, terms.k, y, slot);      \
        break
            DASH_CASE(0);
            DASH_CASE(1);
            DASH_CASE(2);
            DASH_CASE(3);
            DASH_CASE(4);
            DASH_CASE(5);
            DASH_CASE(6);
#undef DASH_CASE
        }
        derivative(y, rates, slot, scratch);
    }

    // Reverse of rhs: upstream [rows][L] -> gradient for y in y_bar; v_bar gathers upstream * derivative.
    template <int L>
    void reverse(const T* upstream, const T* rates, const Slot<T, L>& slot, T* v_bar, T* y_bar, T* scratch) const {
        reverse_to_hidden(upstream, rates, slot, v_bar);
        const T *all_sums = slot.sums(), *scaled = slot.derivative();
        W[0].template to_genes<L>(slot.bar_sums(), scratch, [=](int64_t i, Vec<T> v) { at(y_bar, i) = v; });
        W[1].template to_genes<L>(slot.bar_prods(), scratch, [=](int64_t i, Vec<T> v) {
            const Vec<T> sums = at(all_sums, i);
            const Vec<T> near = T(1) - vabs(sums);  // 1 / (1 + |u|)
            at(y_bar, i) = near * near * (at(y_bar, i) + v / (T(1) + sums)) - at(scaled, i);
        });
    }

    // The first half of it: all that the weight gradients need.
    template <int L>
    void reverse_to_hidden(const T* upstream, const T* rates, const Slot<T, L>& slot, T* v_bar) const {
        watch_->spend(work_ * L);
        const int64_t n = Layout<T, L>::vectors(padded(G)), h = Layout<T, L>::vectors(m);
        T* scaled = slot.derivative();
        for (int64_t i = 0; i < n; ++i) {
            at(v_bar, i) += at(upstream, i) * at(scaled, i);
            at(scaled, i) = at(rates, i) * at(upstream, i);
        }
        U[0].template to_hidden<L>(scaled, slot.bar_sums(), nullptr);
        U[1].template to_hidden<L>(scaled, slot.bar_prods(), nullptr);
        for (int64_t i = 0; i < h; ++i) at(slot.bar_prods(), i) *= at(slot.hidden_prods(), i);
    }

    // How to put samples into tiles. Narrow ones are best when the weights are dense and stay in cache: vectors then hold
    // weights, and no lane idles. When weights come from memory, each should serve many samples. Compressed ones that
    // stay in cache take less time per lane in wide tiles, but narrow ones have fewer idle lanes.
    Tiles tiles() const {
        if (!fits_cache()) return Tiles::wide;
        return W[0].sparse || W[1].sparse || U[0].sparse || U[1].sparse ? Tiles::either : Tiles::narrow;
    }

  private:
    // Shares of active entries below which the compressed form is faster (benchmarks/train_step.py).
    static constexpr double kSparseNarrow = 0.16, kSparseWide = 0.2, kSparseLarge = 0.4;

    bool fits_cache() const { return 8 * G * m * int64_t(sizeof(T)) < (int64_t(1) << 20); }

    // slot.sums and slot.prods at base + the sum of N terms, which is stored in y unless that is null. The loads of one
    // wait behind the arithmetic of the other.
    template <int L, int N>
    void activate(const T* base, const PerSample<T, L>* coefficient, const T* const* k, T* y,
                  const Slot<T, L>& slot) const {
        typedef Vec<T> V;
        constexpr int parts = Layout<T, L>::parts, step = DASH_VECTOR_BYTES == 64 ? 4 : 2;
        static_assert(kPanel * 4 % (step * kWidth<T>) == 0, "a panel is whole steps");
        const int64_t n = Layout<T, L>::vectors(padded(G));
        T *sums = slot.sums(), *prods = slot.prods();
        for (int64_t first = 0; first < n; first += parts > step ? parts : step)
            for (int64_t i = first; i < first + parts || i < first + step; i += step) {
                V state[step];
                DASH_EACH(s, step)
                    const int part = parts > step ? int(i - first) + s : s % parts;
                    state[s] = at(base, i + s);
                    for (int j = 0; j < N; ++j) state[s] += coefficient[j].v[part] * at(k[j], i + s);
                    if (y) at(y, i + s) = state[s];
                DASH_END
                activations<step>(state, sums + i * kWidth<T>, prods + i * kWidth<T>);
            }
    }

    // The rest of rhs.
    template <int L>
    void derivative(const T* y, const T* rates, const Slot<T, L>& slot, T* scratch) const {
        watch_->spend(work_ * L);
        const int64_t h = Layout<T, L>::vectors(m);
        W[0].template to_hidden<L>(slot.sums(), slot.hidden_sums(), b[0].data());
        W[1].template to_hidden<L>(slot.prods(), slot.hidden_prods(), b[1].data());
        for (int64_t i = 0; i < h; ++i) at(slot.hidden_prods(), i) = vexp(at(slot.hidden_prods(), i));
        T* out = slot.derivative();
        const auto finish = [=](int64_t i, Vec<T> target) { at(out, i) = at(rates, i) * (target - at(y, i)); };
        Matrix<T>::template to_genes_both<L>(U[0], slot.hidden_sums(), U[1], slot.hidden_prods(), scratch, finish);
    }

    void rates() {
        rate.zeros(padded(G));
        for (int64_t g = 0; g < G; ++g) rate[g] = v[g] > T(0) ? v[g] : T(0);
    }

    Watch* watch_ = nullptr;  // told of each evaluation and each reverse
    int64_t work_ = 0;        // of either, for one sample
};

}  // namespace DASH_ISA
}  // namespace dash
