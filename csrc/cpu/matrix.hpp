// One weight matrix in the form the kernels read: dense, or compressed rows and columns once it is sparse enough.
// Inputs and outputs are [rows][L] or [cols][L]: L samples side by side.
#pragma once
#include "simd.hpp"

namespace dash {
namespace DASH_ISA {

template <class T>
class Matrix {
  public:
    int64_t rows = 0, cols = 0;
    bool sparse = false;
    Buffer<T> value;  // dense: row-major; sparse: active entries in row order. The master copy.

    int64_t count() const { return sparse ? nnz_ : rows * cols; }

    // Below this share of active entries the compressed form is faster (measured, 350 x 40, 4 and 16 lanes).
    static constexpr double kSparseBelow = 0.4;

    // Take over a row-major matrix; mask null: entries other than 0 are active.
    void load(const T* dense, const uint8_t* mask, int64_t rows_, int64_t cols_) {
        rows = rows_, cols = cols_;
        const int64_t n = rows * cols;
        nnz_ = 0;
        for (int64_t i = 0; i < n; ++i) nnz_ += mask ? mask[i] != 0 : dense[i] != T(0);
        sparse = n > 0 && nnz_ < kSparseBelow * n;
        if (!sparse) {
            value.reserve(n);
            for (int64_t i = 0; i < n; ++i) value[i] = (!mask || mask[i]) ? dense[i] : T(0);
            return;
        }
        value.reserve(nnz_);
        ptr_.reserve(rows + 1);
        index_.reserve(nnz_);
        int64_t at = 0;
        for (int64_t r = 0; r < rows; ++r) {
            ptr_[r] = at;
            for (int64_t c = 0; c < cols; ++c) {
                const int64_t i = r * cols + c;
                if (mask ? mask[i] != 0 : dense[i] != T(0)) {
                    value[at] = dense[i];
                    index_[at++] = static_cast<int32_t>(c);
                }
            }
        }
        ptr_[rows] = at;
    }

    // Write an array in this matrix's order (values, gradients, moments) back to a row-major one; inactive entries 0.
    void unload(const T* packed, T* dense) const {
        if (!sparse) {
            std::memcpy(dense, packed, rows * cols * sizeof(T));
            return;
        }
        std::memset(dense, 0, rows * cols * sizeof(T));
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t k = ptr_[r]; k < ptr_[r + 1]; ++k) dense[r * cols + index_[k]] = packed[k];
    }

    // Gather a row-major array into this matrix's order.
    void pack(const T* dense, T* packed) const {
        if (!sparse) {
            std::memcpy(packed, dense, rows * cols * sizeof(T));
            return;
        }
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t k = ptr_[r]; k < ptr_[r + 1]; ++k) packed[k] = dense[r * cols + index_[k]];
    }

    // Build the transposed form; once per pattern. Call refresh() whenever values change.
    void transpose() {
        if (sparse) {
            t_ptr_.zeros(cols + 1);
            t_index_.reserve(nnz_);
            t_from_.reserve(nnz_);
            for (int64_t k = 0; k < nnz_; ++k) ++t_ptr_[index_[k] + 1];
            for (int64_t c = 0; c < cols; ++c) t_ptr_[c + 1] += t_ptr_[c];
            Buffer<int64_t> at;
            at.reserve(cols);
            for (int64_t c = 0; c < cols; ++c) at[c] = t_ptr_[c];
            for (int64_t r = 0; r < rows; ++r)
                for (int64_t k = ptr_[r]; k < ptr_[r + 1]; ++k) {
                    const int64_t to = at[index_[k]]++;
                    t_index_[to] = static_cast<int32_t>(r);
                    t_from_[to] = static_cast<int32_t>(k);
                }
        }
        t_value_.reserve(count());
        refresh();
    }

    void refresh() {
        if (sparse) {
            for (int64_t k = 0; k < nnz_; ++k) t_value_[k] = value[t_from_[k]];
            return;
        }
        constexpr int64_t tile = 16;
        for (int64_t r0 = 0; r0 < rows; r0 += tile)
            for (int64_t c0 = 0; c0 < cols; c0 += tile)
                for (int64_t c = c0; c < (c0 + tile < cols ? c0 + tile : cols); ++c)
                    for (int64_t r = r0; r < (r0 + tile < rows ? r0 + tile : rows); ++r)
                        t_value_[c * rows + r] = value[r * cols + c];
    }

    // y[r] (+)= start[r] + sum_c A[r, c] x[c]; start may be null, add keeps what y holds.
    template <int L>
    void apply(const T* x, T* y, const T* start, bool add) const {
        if (sparse)
            apply_sparse<L>(ptr_.data(), index_.data(), value.data(), rows, x, y, start, add);
        else
            apply_dense<L>(value.data(), rows, cols, x, y, start, add);
    }

    // y[c] = sum_r A[r, c] x[r]
    template <int L>
    void apply_transposed(const T* x, T* y) const {
        if (sparse)
            apply_sparse<L>(t_ptr_.data(), t_index_.data(), t_value_.data(), cols, x, y, nullptr, false);
        else
            apply_dense<L>(t_value_.data(), cols, rows, x, y, nullptr, false);
    }

    // grad[r, c] += sum over K slots and lanes of left[slot][r] * right[slot][c], on active entries, in value's order.
    template <int L>
    void add_outer(const T* left, int64_t left_stride, const T* right, int64_t right_stride, int64_t K, T* grad) const {
        typedef vec<T, L> V;
        if (sparse) {
            for (int64_t r = 0; r < rows; ++r)
                for (int64_t k = ptr_[r]; k < ptr_[r + 1]; ++k) {
                    const T* a = left + r * L;
                    const T* b = right + int64_t(index_[k]) * L;
                    V sum = {};
                    for (int64_t s = 0; s < K; ++s)
                        sum += *reinterpret_cast<const V*>(a + s * left_stride) *
                               *reinterpret_cast<const V*>(b + s * right_stride);
                    grad[k] += lane_sum<T, L>(sum);
                }
            return;
        }
        int64_t r = 0;
        for (; r + 4 <= rows; r += 4) {
            int64_t c = 0;
            for (; c + 4 <= cols; c += 4) outer_block<L, 4, 4>(left, left_stride, right, right_stride, K, r, c, grad);
            for (; c < cols; ++c) outer_block<L, 4, 1>(left, left_stride, right, right_stride, K, r, c, grad);
        }
        for (; r < rows; ++r)
            for (int64_t c = 0; c < cols; ++c) outer_block<L, 1, 1>(left, left_stride, right, right_stride, K, r, c, grad);
    }

  private:
    template <int L>
    static void apply_sparse(const int64_t* ptr, const int32_t* index, const T* value, int64_t n, const T* x, T* y,
                             const T* start, bool add) {
        typedef vec<T, L> V;
        for (int64_t r = 0; r < n; ++r) {
            V even = start ? broadcast<T, L>(start[r]) : V{}, odd = {};
            int64_t k = ptr[r];
            for (; k + 2 <= ptr[r + 1]; k += 2) {
                even += value[k] * *reinterpret_cast<const V*>(x + int64_t(index[k]) * L);
                odd += value[k + 1] * *reinterpret_cast<const V*>(x + int64_t(index[k + 1]) * L);
            }
            if (k < ptr[r + 1]) even += value[k] * *reinterpret_cast<const V*>(x + int64_t(index[k]) * L);
            V* out = reinterpret_cast<V*>(y + r * L);
            *out = add ? *out + (even + odd) : even + odd;
        }
    }

    template <int L, int R>
    static void dense_rows(const T* a, int64_t m, const T* x, T* y, const T* start, bool add) {
        typedef vec<T, L> V;
        V sum[R];
        for (int k = 0; k < R; ++k) sum[k] = start ? broadcast<T, L>(start[k]) : V{};
        for (int64_t c = 0; c < m; ++c) {
            const V xc = *reinterpret_cast<const V*>(x + c * L);
            for (int k = 0; k < R; ++k) sum[k] += a[k * m + c] * xc;
        }
        V* out = reinterpret_cast<V*>(y);
        for (int k = 0; k < R; ++k) out[k] = add ? out[k] + sum[k] : sum[k];
    }

    template <int L>
    static void apply_dense(const T* a, int64_t n, int64_t m, const T* x, T* y, const T* start, bool add) {
        int64_t r = 0;
        for (; r + 8 <= n; r += 8) dense_rows<L, 8>(a + r * m, m, x, y + r * L, start ? start + r : nullptr, add);
        for (; r < n; ++r) dense_rows<L, 1>(a + r * m, m, x, y + r * L, start ? start + r : nullptr, add);
    }

    template <int L, int R, int C>
    void outer_block(const T* left, int64_t left_stride, const T* right, int64_t right_stride, int64_t K, int64_t r,
                     int64_t c, T* grad) const {
        typedef vec<T, L> V;
        V sum[R][C] = {};
        for (int64_t s = 0; s < K; ++s) {
            const V* a = reinterpret_cast<const V*>(left + s * left_stride + r * L);
            const V* b = reinterpret_cast<const V*>(right + s * right_stride + c * L);
            for (int i = 0; i < R; ++i)
                for (int j = 0; j < C; ++j) sum[i][j] += a[i] * b[j];
        }
        for (int i = 0; i < R; ++i)
            for (int j = 0; j < C; ++j) grad[(r + i) * cols + c + j] += lane_sum<T, L>(sum[i][j]);
    }

    int64_t nnz_ = 0;
    Buffer<int64_t> ptr_, t_ptr_;
    Buffer<int32_t> index_, t_index_, t_from_;
    Buffer<T> t_value_;
};

}  // namespace DASH_ISA
}  // namespace dash
