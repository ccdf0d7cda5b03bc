// One weight matrix between genes and hidden units, A[h][g], in the form the kernels read: dense panels, or compressed
// by hidden unit and by gene once it is sparse enough. Both W [m, G] and U [G, m] are held this way.
#pragma once
#include "dense.hpp"
#include "sparse.hpp"

namespace dash {
namespace DASH_ISA {

// A matrix as the caller holds it: a row-major array, or the stored entries of a compressed one, and its mask.
template <class T>
struct Source {
    const T* array;
    const uint8_t* mask;  // null: entries other than 0 are active
    Structure structure;
    bool genes_first;  // rows are genes (U) or hidden units (W)

    bool is_active(int64_t at) const { return mask ? mask[at] != 0 : array[at] != T(0); }
};

template <class T>
class Matrix {
  public:
    int64_t m = 0, G = 0;
    bool sparse = false;
    Buffer<T> value;         // the master copy; dense: panels of genes [G / 16][m][16]; sparse: by hidden unit
    Buffer<uint8_t> active;  // dense with a mask: 1 = active, in value's order; else unused
    bool masked = false;

    int64_t count() const { return sparse ? nnz_ : padded(G) * m; }

    // Take over the caller's matrix. The compressed form is used when the share of active entries is below
    // sparse_below, and for what comes compressed; results are the same bits in either form.
    void load(const Source<T>& source, int64_t m_, int64_t G_, double sparse_below) {
        m = m_, G = G_, genes_first_ = source.genes_first;
        const Structure& s = source.structure;
        size_ = s.ptr ? s.ptr[genes_first_ ? G : m] : m * G;
        nnz_ = 0;
        for (int64_t i = 0; i < size_; ++i) nnz_ += source.is_active(i);
        sparse = s.ptr || nnz_ < sparse_below * double(m * G);
        masked = !sparse && nnz_ < m * G;
        if (sparse)
            load_compressed(source);
        else
            load_dense(source);
    }

    // Write an array in value's order (values, gradients, moments) back to the caller's form; inactive entries 0.
    void unload(const T* packed, T* array) const {
        if (sparse) std::memset(array, 0, size_ * sizeof(T));
        each([&](int64_t at, int64_t k) { array[at] = packed[k]; });
    }

    // Bring an array of the caller's form into value's order.
    void pack(const T* array, T* packed) const {
        if (!sparse) std::memset(packed, 0, count() * sizeof(T));
        each([&](int64_t at, int64_t k) { packed[k] = array[at]; });
    }

    // Build what the products read besides value; once per pattern. refresh() follows every change of values.
    void prepare() {
        if (sparse) {
            Buffer<int64_t> ptr, next;
            Buffer<int32_t> index, from;
            ptr.zeros(G + 1), next.reserve(G), index.reserve(nnz_), from.reserve(nnz_);
            for (int64_t k = 0; k < nnz_; ++k) ++ptr[index_[k] + 1];
            for (int64_t g = 0; g < G; ++g) ptr[g + 1] += ptr[g], next[g] = ptr[g];
            for (int64_t h = 0; h < m; ++h)
                for (int64_t k = ptr_[h]; k < ptr_[h + 1]; ++k) {
                    const int64_t to = next[index_[k]]++;
                    index[to] = static_cast<int32_t>(h);
                    from[to] = static_cast<int32_t>(k);
                }
            by_hidden_.build(m, G, ptr_.data(), index_.data(), nullptr);
            by_gene_.build(G, m, ptr.data(), index.data(), from.data());
        } else {
            other_.zeros(padded(m) * padded(G));
        }
        refresh();
    }

    void refresh() {
        if (sparse) {
            by_hidden_.refresh(value.data());
            by_gene_.refresh(value.data());
            return;
        }
        const int64_t rows = padded(G);
        for (int64_t g = 0; g < rows; g += kPanel)
            for (int64_t h = 0; h < m; h += kPanel) {
                const T* from = value.data() + (g * m + h * kPanel);                        // [h][16 genes]
                T* to = other_.data() + (h / kPanel * rows + g) * kPanel;                    // [g][16 hidden units]
                const int64_t n = m - h < kPanel ? m - h : kPanel;
                if (n == kPanel)
                    transpose16(from, to);
                else
                    for (int64_t i = 0; i < n; ++i)
                        for (int64_t j = 0; j < kPanel; ++j) to[j * kPanel + i] = from[i * kPanel + j];
            }
    }

    // y[h] = start[h] + sum_g A[h][g] x[g]; y has padded(m) rows
    template <int L>
    void to_hidden(const T* x, T* y, const T* start) const {
        if (sparse)
            by_hidden_.template apply<L>(x, y, start);
        else
            dense_apply<T, L>(other_.data(), padded(G), m, x, y, start);
    }

    // y[g] = sum_h A[h][g] x[h]; y has padded(G) rows
    template <int L>
    void to_genes(const T* x, T* y) const {
        if (sparse)
            by_gene_.template apply<L>(x, y, nullptr);
        else
            dense_apply<T, L>(value.data(), m, G, x, y, nullptr);
    }

    // grad += sum over slots and samples of hidden[slot][h] * genes[slot][g], in value's order.
    template <int L>
    void add_outer(const T* hidden, const T* genes, int64_t stride, int64_t slots, T* grad) const {
        if (sparse)
            sparse_outer<T, L>(ptr_.data(), index_.data(), m, hidden, genes, stride, slots, grad);
        else
            for (int64_t panel = 0; panel < padded(G) / kPanel; ++panel)
                dense_outer<T, L>(hidden, genes, stride, slots, m, panel, grad + panel * m * kPanel);
    }

  private:
    // f(h, g, position in the caller's row-major array) in the order of that array
    template <class F>
    void each_dense(F f) const {
        const int64_t rows = genes_first_ ? G : m, columns = genes_first_ ? m : G;
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < columns; ++c)
                genes_first_ ? f(c, r, r * columns + c) : f(r, c, r * columns + c);
    }

    // f(position in the caller's array, position in value's order) for all entries (dense) or active ones (sparse)
    template <class F>
    void each(F f) const {
        if (sparse) {
            for (int64_t k = 0; k < nnz_; ++k) f(from_[k], k);
            return;
        }
        each_dense([&](int64_t h, int64_t g, int64_t at) { f(at, (g / kPanel * m + h) * kPanel + g % kPanel); });
    }

    // f(h, g, position in the caller's array) for the active entries, genes rising within each hidden unit
    template <class F>
    void each_active(const Source<T>& source, F f) const {
        const Structure& s = source.structure;
        if (s.ptr) {
            const int64_t rows = genes_first_ ? G : m;
            for (int64_t r = 0; r < rows; ++r)
                for (int64_t at = s.ptr[r]; at < s.ptr[r + 1]; ++at) {
                    if (!source.is_active(at)) continue;
                    if (genes_first_)
                        f(int64_t(s.index[at]), r, at);
                    else
                        f(r, int64_t(s.index[at]), at);
                }
            return;
        }
        each_dense([&](int64_t h, int64_t g, int64_t at) {
            if (source.is_active(at)) f(h, g, at);
        });
    }

    void load_dense(const Source<T>& source) {
        value.zeros(count());
        if (masked) active.zeros(count());
        each([&](int64_t at, int64_t k) {
            if (!source.is_active(at)) return;
            value[k] = source.array[at];
            if (masked) active[k] = 1;
        });
    }

    void load_compressed(const Source<T>& source) {
        value.reserve(nnz_);
        index_.reserve(nnz_);
        from_.reserve(nnz_);
        ptr_.zeros(m + 1);
        each_active(source, [&](int64_t h, int64_t, int64_t) { ++ptr_[h + 1]; });
        Buffer<int64_t> next;
        next.reserve(m);
        for (int64_t h = 0; h < m; ++h) ptr_[h + 1] += ptr_[h], next[h] = ptr_[h];
        each_active(source, [&](int64_t h, int64_t g, int64_t at) {
            const int64_t k = next[h]++;
            value[k] = source.array[at];
            index_[k] = static_cast<int32_t>(g);
            from_[k] = at;
        });
    }

    static void transpose16(const T* from, T* to) {
        constexpr int W = kWidth<T>;
        if constexpr (W == 16) {
            // four rounds of interleaving rows i and i + 8
            Vec<T> a[16], b[16];
            for (int i = 0; i < 16; ++i) a[i] = at(from, i);
            for (int round = 0; round < 4; ++round) {
                for (int i = 0; i < 8; ++i) {
                    b[2 * i] = interleave_low<W>(a[i], a[i + 8]);
                    b[2 * i + 1] = interleave_high<W>(a[i], a[i + 8]);
                }
                for (int i = 0; i < 16; ++i) a[i] = b[i];
            }
            for (int i = 0; i < 16; ++i) at(to, i) = a[i];
        } else {
            for (int i = 0; i < 16; ++i)
                for (int j = 0; j < 16; ++j) to[j * 16 + i] = from[i * 16 + j];
        }
    }

    int64_t nnz_ = 0, size_ = 0;  // active entries; those of the caller's array
    bool genes_first_ = false;
    Buffer<int64_t> ptr_, from_;  // from_: where in the caller's array an active entry stands
    Buffer<int32_t> index_;
    Grouped<T> by_hidden_, by_gene_;  // sparse
    Buffer<T> other_;                 // dense: panels of hidden units [m / 16][G][16]
};

}  // namespace DASH_ISA
}  // namespace dash
