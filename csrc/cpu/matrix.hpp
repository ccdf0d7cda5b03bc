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
        nnz_ = source.mask ? count_active(source.mask, size_) : count_active(source.array, size_);
        sparse = s.ptr || nnz_ < sparse_below * double(m * G);
        masked = !sparse && nnz_ < m * G;
        if (sparse)
            load_compressed(source);
        else
            load_dense(source);
    }

    // Write an array in value's order (values, gradients, moments) back to the caller's form; inactive entries 0.
    void unload(const T* packed, T* array) const {
        if (!sparse) {
            const int64_t to_row = genes_first_ ? m : G;
            each_panel([&](int64_t g, int64_t genes, int64_t h, int64_t hidden) {
                const T* from = packed + g * m + h * kPanel;
                if (genes_first_)
                    transposed(from, kPanel, hidden, genes, array + g * to_row + h, to_row);
                else
                    for (int64_t i = 0; i < hidden; ++i) copy_row(from + i * kPanel, genes, array + (h + i) * to_row + g);
            });
            return;
        }
        std::memset(array, 0, size_ * sizeof(T));
        for (int64_t k = 0; k < nnz_; ++k) array[from_[k]] = packed[k];
    }

    // Bring an array of the caller's form into value's order.
    void pack(const T* array, T* packed) const {
        if (sparse)
            for (int64_t k = 0; k < nnz_; ++k) packed[k] = array[from_[k]];
        else
            pack_dense(array, packed);
    }

    // Build what the products read besides value; once per pattern. refresh() follows every change of values.
    void prepare() {
        if (sparse) {
            Buffer<int64_t> next;
            t_ptr_.zeros(G + 1), next.reserve(G), t_index_.reserve(nnz_), t_from_.reserve(nnz_);
            for (int64_t k = 0; k < nnz_; ++k) ++t_ptr_[index_[k] + 1];
            for (int64_t g = 0; g < G; ++g) t_ptr_[g + 1] += t_ptr_[g], next[g] = t_ptr_[g];
            for (int64_t h = 0; h < m; ++h)
                for (int64_t k = ptr_[h]; k < ptr_[h + 1]; ++k) {
                    const int64_t to = next[index_[k]]++;
                    t_index_[to] = static_cast<int32_t>(h);
                    t_from_[to] = static_cast<int32_t>(k);
                }
            by_hidden_.build(m, G, ptr_.data(), index_.data(), nullptr);
            by_gene_.build(G, m, t_ptr_.data(), t_index_.data(), t_from_.data());
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
        each_panel([&](int64_t g, int64_t, int64_t h, int64_t hidden) {
            const T* from = value.data() + g * m + h * kPanel;           // [h][16 genes]
            T* to = other_.data() + (h / kPanel * rows + g) * kPanel;    // [g][16 hidden units]
            transposed(from, kPanel, hidden, kPanel, to, kPanel);
        });
    }

    // y[h] = start[h] + sum_g A[h][g] x[g]
    template <int L>
    void to_hidden(const T* x, T* y, const T* start) const {
        if (sparse) {
            by_hidden_.template apply<L>(x, y, {start, nullptr});
            return;
        }
        const Factor<T> factor{other_.data(), padded(G), x};
        dense_apply<T, L>(&factor, 1, m, {start, nullptr}, [=](int64_t i, Vec<T> v) { at(y, i) = v; });
    }

    // finish(i, vector i of sum_h A[h][g] x[h]); scratch: a tile of genes
    template <int L, class Finish>
    void to_genes(const T* x, T* scratch, Finish finish) const {
        if (sparse) {
            by_gene_.template apply<L>(x, scratch, {});
            finish_all<L>(scratch, finish);
        } else {
            const Factor<T> factor = gene_factor(x);
            dense_apply<T, L>(&factor, 1, padded(G), {}, finish);
        }
    }

    // finish(i, vector i of sum_h A[h][g] x[h] + sum_h B[h][g] z[h]) as one chain of multiply-adds, A's first
    template <int L, class Finish>
    static void to_genes_both(const Matrix& A, const T* x, const Matrix& B, const T* z, T* scratch, Finish finish) {
        const Factor<T> factor[2] = {A.gene_factor(x), B.gene_factor(z)};
        const int64_t rows = padded(A.G);
        // from memory, one matrix after the other comes faster than panels of both in turn
        const bool in_cache = A.count() * int64_t(sizeof(T)) < (int64_t(1) << 18);
        if (in_cache && !A.sparse && !B.sparse) {
            dense_apply<T, L>(factor, 2, rows, {}, finish);
            return;
        }
        const auto store = [&](int64_t i, Vec<T> v) { at(scratch, i) = v; };
        const Start<T> onward{nullptr, scratch};
        A.sparse ? A.by_gene_.template apply<L>(x, scratch, {}) : dense_apply<T, L>(factor, 1, rows, {}, store);
        B.sparse ? B.by_gene_.template apply<L>(z, scratch, onward) : dense_apply<T, L>(factor + 1, 1, rows, onward, store);
        A.template finish_all<L>(scratch, finish);
    }

    // grad += sum over slots and samples of hidden[slot][h] * genes[slot][g], in value's order. memory: to work in.
    template <int L>
    void add_outer(const T* hidden, const T* genes, int64_t stride, int64_t slots, T* grad, Buffer<T>& memory) const {
        if (!sparse) {
            for (int64_t panel = 0; panel < padded(G) / kPanel; ++panel)
                dense_outer<T, L>(hidden, genes, stride, slots, m, panel, grad + panel * m * kPanel);
            return;
        }
        auto add = [&](auto count) {
            constexpr int S = decltype(count)::value;
            const auto outer = [&](auto packed, const T* left) {
                sparse_outer<T, L, S, decltype(packed)::value == 1>(t_ptr_.data(), t_index_.data(), t_from_.data(), G, left,
                                                                    genes, stride, grad);
            };
            // bringing the slots of a hidden unit together pays when some entries read them
            if (S % Layout<T, L>::genes == 0 && nnz_ < 6 * m)
                outer(Number<0>{}, hidden);
            else
                outer(Number<1>{}, side_by_side<T, L, S>(hidden, stride, m, memory));
            hidden += S * stride, genes += S * stride, slots -= S;
        };
        while (slots >= 24) add(Number<24>{});
        while (slots >= 6) add(Number<6>{});
        while (slots >= 1) add(Number<1>{});
    }

  private:
    Factor<T> gene_factor(const T* x) const { return {value.data(), m, x}; }

    template <int L, class Finish>
    void finish_all(const T* tile, Finish finish) const {
        const int64_t n = Layout<T, L>::vectors(padded(G));
        for (int64_t i = 0; i < n; ++i) finish(i, at(tile, i));
    }

    // f(h, g, position in the caller's row-major array) in the order of that array
    template <class F>
    void each_dense(F f) const {
        const int64_t rows = genes_first_ ? G : m, columns = genes_first_ ? m : G;
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < columns; ++c)
                genes_first_ ? f(c, r, r * columns + c) : f(r, c, r * columns + c);
    }

    // f(first gene, how many, first hidden unit, how many) for the blocks of a panel's genes and 16 hidden units
    template <class F>
    void each_panel(F f) const {
        for (int64_t g = 0; g < G; g += kPanel)
            for (int64_t h = 0; h < m; h += kPanel)
                f(g, G - g < kPanel ? G - g : kPanel, h, m - h < kPanel ? m - h : kPanel);
    }

    // The caller's dense array as panels of genes; padded genes are 0.
    template <class S>
    void pack_dense(const S* array, S* packed) const {
        const int64_t row = genes_first_ ? m : G;
        if (G % kPanel) std::memset(packed + G / kPanel * kPanel * m, 0, kPanel * m * sizeof(S));
        each_panel([&](int64_t g, int64_t genes, int64_t h, int64_t hidden) {
            S* to = packed + g * m + h * kPanel;
            if (genes_first_)
                transposed(array + g * row + h, row, genes, hidden, to, kPanel);
            else
                for (int64_t i = 0; i < hidden; ++i) copy_row(array + (h + i) * row + g, genes, to + i * kPanel);
        });
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
        value.reserve(count());
        pack_dense(source.array, value.data());
        if (!masked) return;
        active.reserve(count());
        if (source.mask)
            pack_dense(source.mask, active.data());
        for (int64_t k = 0; k < count(); ++k) {
            if (!source.mask) active[k] = value[k] != T(0);
            value[k] = active[k] ? value[k] : T(0);
        }
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

    template <class S>
    static int64_t count_active(const S* p, int64_t n) {
        int64_t total = 0;
        for (int64_t first = 0; first < n; first += 4096) {  // short counts: as many in a vector as there are values
            const int64_t end = n - first < 4096 ? n : first + 4096;
            int32_t some = 0;
            for (int64_t i = first; i < end; ++i) some += p[i] != S(0);
            total += some;
        }
        return total;
    }

    // At most a panel's row of numbers; a whole one takes no call.
    template <class S>
    static void copy_row(const S* from, int64_t n, S* to) {
        if (n == kPanel)
            std::memcpy(to, from, kPanel * sizeof(S));
        else
            std::memcpy(to, from, n * sizeof(S));
    }

    // to[j][i] = from[i][j] for rows i and columns j, both at most 16
    template <class S>
    static void transposed(const S* from, int64_t from_row, int64_t rows, int64_t columns, S* to, int64_t to_row) {
        if constexpr (kWidth<S> == 16) {
            if (rows == 16 && columns == 16) {
                // four rounds of interleaving rows i and i + 8
                Vec<S> a[16], b[16];
                for (int i = 0; i < 16; ++i) std::memcpy(&a[i], from + i * from_row, sizeof(a[i]));
                for (int round = 0; round < 4; ++round) {
                    for (int i = 0; i < 8; ++i) {
                        b[2 * i] = interleave_low<16>(a[i], a[i + 8]);
                        b[2 * i + 1] = interleave_high<16>(a[i], a[i + 8]);
                    }
                    for (int i = 0; i < 16; ++i) a[i] = b[i];
                }
                for (int i = 0; i < 16; ++i) std::memcpy(to + i * to_row, &a[i], sizeof(a[i]));
                return;
            }
        }
        for (int64_t i = 0; i < rows; ++i)
            for (int64_t j = 0; j < columns; ++j) to[j * to_row + i] = from[i * from_row + j];
    }

    int64_t nnz_ = 0, size_ = 0;  // active entries; those of the caller's array
    bool genes_first_ = false;
    Buffer<int64_t> from_;         // where in the caller's array an active entry stands
    Buffer<int64_t> ptr_, t_ptr_;  // sparse: by hidden unit, and by gene with the place of each entry in value
    Buffer<int32_t> index_, t_index_, t_from_;
    Grouped<T> by_hidden_, by_gene_;  // sparse
    Buffer<T> other_;                 // dense: panels of hidden units [m / 16][G][16]
};

}  // namespace DASH_ISA
}  // namespace dash
