// Products with a compressed matrix: L samples per entry. Every output is one chain of multiply-adds in index order,
// so that the bits are those of the dense form.
#pragma once
#include "tile.hpp"

namespace dash {
namespace DASH_ISA {

// The samples of one gene or hidden unit as whole vectors, also where L is shorter than the level's vectors.
template <class T, int L>
struct Row {
    static constexpr int width = L < kWidth<T> ? L : kWidth<T>;
    static constexpr int parts = L / width;
    typedef vec<T, width> V;
    static const V& get(const T* p, int part) { return reinterpret_cast<const V*>(p)[part]; }
    static V& get(T* p, int part) { return reinterpret_cast<V*>(p)[part]; }
};

// y[r][L] = start[r] + sum over the entries of row r of value * x[index][L]
template <class T, int L>
inline void sparse_apply(const int64_t* ptr, const int32_t* index, const T* value, int64_t rows, const T* x, T* y,
                         const T* start) {
    typedef Row<T, L> R;
    for (int64_t r = 0; r < rows; ++r) {
        typename R::V sum[R::parts];
        for (int p = 0; p < R::parts; ++p)
            sum[p] = start ? broadcast<typename R::V>(start[r]) : typename R::V{};
        for (int64_t k = ptr[r]; k < ptr[r + 1]; ++k) {
            const T* from = x + int64_t(index[k]) * L;
            for (int p = 0; p < R::parts; ++p) sum[p] += value[k] * R::get(from, p);
        }
        for (int p = 0; p < R::parts; ++p) R::get(y + r * L, p) = sum[p];
    }
}

// y[index][L] = sum over the entries (r, index) of value * x[r][L]: the transposed product from the same arrays. For
// matrices with few entries per output: a loop over outputs would mispredict its end at nearly every one.
template <class T, int L>
inline void sparse_scatter(const int64_t* ptr, const int32_t* index, const T* value, int64_t rows, int64_t outputs,
                           const T* x, T* y) {
    typedef Row<T, L> R;
    std::memset(y, 0, outputs * L * sizeof(T));
    for (int64_t r = 0; r < rows; ++r) {
        typename R::V xr[R::parts];
        for (int p = 0; p < R::parts; ++p) xr[p] = R::get(x + r * L, p);
        for (int64_t k = ptr[r]; k < ptr[r + 1]; ++k) {
            T* to = y + int64_t(index[k]) * L;
            for (int p = 0; p < R::parts; ++p) R::get(to, p) += value[k] * xr[p];
        }
    }
}

// grad[k] += sum over slots and samples of left[slot][row] * right[slot][index[k]], for the entries of all rows.
template <class T, int L>
inline void sparse_outer(const int64_t* ptr, const int32_t* index, int64_t rows, const T* left, const T* right,
                         int64_t stride, int64_t slots, T* grad) {
    typedef Row<T, L> R;
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t k = ptr[r]; k < ptr[r + 1]; ++k) {
            const T* a = left + r * L;
            const T* b = right + int64_t(index[k]) * L;
            typename R::V sum[R::parts] = {};
            for (int64_t s = 0; s < slots; ++s)
                for (int p = 0; p < R::parts; ++p) sum[p] += R::get(a + s * stride, p) * R::get(b + s * stride, p);
            T total = 0;
            for (int p = 0; p < R::parts; ++p)
                for (int w = 0; w < R::width; ++w) total += sum[p][w];
            grad[k] += total;
        }
}

}  // namespace DASH_ISA
}  // namespace dash
