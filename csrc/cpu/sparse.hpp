// Products with a compressed matrix: L samples per entry. Every output is one chain of multiply-adds in index order,
// so that the bits are those of the dense form.
#pragma once
#include "tile.hpp"

namespace dash {
namespace DASH_ISA {

// The outputs of a compressed product, longest first and side by side in groups of kGroup: a group is padded with zeros
// to its longest row, so that the processor foresees where loops end, and its chains of multiply-adds overlap.
template <class T>
class Grouped {
  public:
    static constexpr int64_t kGroup = 4;

    // Row r has the entries ptr[r] .. ptr[r + 1], inputs in index; from[k] (null: k) says where refresh() finds entry
    // k's value. inputs: how many there are.
    void build(int64_t rows, int64_t inputs, const int64_t* ptr, const int32_t* index, const int32_t* from) {
        groups_ = (rows + kGroup - 1) / kGroup;
        row_.reserve(groups_ * kGroup);
        first_.reserve(groups_ + 1);
        auto length = [&](int64_t r) { return r < rows ? ptr[r + 1] - ptr[r] : 0; };
        Buffer<int64_t> place;  // by length: where the next row goes
        place.zeros(inputs + 2);
        for (int64_t r = 0; r < groups_ * kGroup; ++r) ++place[inputs - length(r) + 1];
        for (int64_t n = 0; n < inputs; ++n) place[n + 1] += place[n];
        for (int64_t r = 0; r < groups_ * kGroup; ++r) row_[place[inputs - length(r)]++] = static_cast<int32_t>(r);
        first_[0] = 0;
        for (int64_t g = 0; g < groups_; ++g) first_[g + 1] = first_[g] + length(row_[g * kGroup]);
        entries_ = first_[groups_] * kGroup;
        index_.zeros(entries_);
        from_.reserve(entries_);
        value_.reserve(entries_);
        for (int64_t g = 0; g < groups_; ++g)
            for (int64_t i = 0; i < kGroup; ++i) {
                const int64_t r = row_[g * kGroup + i], n = length(r);
                for (int64_t j = 0; j < first_[g + 1] - first_[g]; ++j) {
                    const int64_t to = (first_[g] + j) * kGroup + i, k = ptr[r < rows ? r : 0] + (j < n ? j : n - 1);
                    if (n > 0) index_[to] = index[k];
                    from_[to] = j < n ? (from ? from[k] : static_cast<int32_t>(k)) : -1;
                }
            }
    }

    void refresh(const T* value) {
        for (int64_t k = 0; k < entries_; ++k) value_[k] = from_[k] < 0 ? T(0) : value[from_[k]];
    }

    // y[r][L] = start + sum over the entries of row r of value * x[index][L]
    template <int L>
    void apply(const T* x, T* y, const Start<T>& start) const {
        typedef Vec<T> V;
        constexpr int rows = Layout<T, L>::genes, parts = Layout<T, L>::parts;  // rows in a vector, vectors of a row
        constexpr int most = 8 / parts > 1 ? 8 / parts : 1;                     // vectors of rows at once
        constexpr int N = most * rows < kGroup ? most : kGroup / rows;
        for (int64_t g = 0; g < groups_; ++g)
            for (int64_t i = 0; i < kGroup; i += N * rows) {
                const int32_t* row = row_.data() + g * kGroup + i;
                V sum[N][parts];
                for (int n = 0; n < N; ++n)
                    for (int p = 0; p < parts; ++p)
                        sum[n][p] = start.tile ? rows_at<T, L>(start.tile, row + n * rows, p) : V{};
                if (start.numbers)
                    for (int n = 0; n < N; ++n) {
                        T first[rows];
                        for (int r = 0; r < rows; ++r) first[r] = start.numbers[row[n * rows + r]];
                        for (int p = 0; p < parts; ++p) sum[n][p] = spread<T, L>(first);
                    }
                const int32_t* index = index_.data() + first_[g] * kGroup + i;
                const T* value = value_.data() + first_[g] * kGroup + i;
                for (int64_t j = first_[g]; j < first_[g + 1]; ++j, index += kGroup, value += kGroup)
                    for (int n = 0; n < N; ++n) {
                        const V v = spread<T, L>(value + n * rows);
                        for (int p = 0; p < parts; ++p) sum[n][p] += v * rows_at<T, L>(x, index + n * rows, p);
                    }
                for (int n = 0; n < N; ++n)
                    for (int p = 0; p < parts; ++p) put_rows<T, L>(sum[n][p], y, row + n * rows, p);
            }
    }

  private:
    int64_t groups_ = 0, entries_ = 0;
    Buffer<int64_t> first_;        // [groups + 1], in entries of a row
    Buffer<int32_t> row_;          // [groups][kGroup]
    Buffer<int32_t> index_, from_;  // [first][kGroup]
    Buffer<T> value_;
};

// Sums over the elements of vectors, as many at once as a vector holds; each is added to its place in an array.
template <class T>
class ElementSums {
  public:
    explicit ElementSums(T* out) : out_(out) {}

    void add(Vec<T> v, int64_t place) {
        v_[n_] = v, place_[n_] = place;
        if (++n_ == W) flush();
    }

    void flush() {
        for (int n = W; n > 1; n /= 2)
            for (int i = 0; i < n / 2; ++i) v_[i] = pair_sums<T>(v_[2 * i], v_[2 * i + 1]);
        for (int i = 0; i < n_; ++i) out_[place_[i]] += v_[0][i];
        n_ = 0;
    }

  private:
    static constexpr int W = kWidth<T>;
    T* out_;
    int n_ = 0;
    Vec<T> v_[W] = {};
    int64_t place_[W];
};

// grad[from[k]] += sum over S slots and samples of left[slot][index[k]] * right[slot][gene], for the entries k of all
// genes. A gene's values of all slots stay in registers; the slots of a hidden unit lie side by side in left (kPacked) or
// as they came, which whole vectors of rows allow.
template <class T, int L, int S, bool kPacked>
inline void sparse_outer(const int64_t* ptr, const int32_t* index, const int32_t* from, int64_t genes, const T* left,
                         const T* right, int64_t stride, T* grad) {
    typedef Vec<T> V;
    constexpr int rows = Layout<T, L>::genes, parts = Layout<T, L>::parts;
    constexpr int N = (S + rows - 1) / rows * parts;
    int32_t slot[S + rows] = {};  // those that fill the last vector meet zeros in left
    for (int s = 0; s < S && rows > 1; ++s) slot[s] = static_cast<int32_t>(s * (stride / L));
    ElementSums<T> sums(grad);
    for (int64_t g = 0; g < genes; ++g) {
        if (ptr[g] == ptr[g + 1]) continue;
        const auto of_slots = [&](const T* row, int i) {
            if constexpr (rows > 1)
                return rows_of4(row, slot + i * rows);
            else
                return at(row + i / parts * stride, i % parts);
        };
        V b[N];
        for (int i = 0; i < N; ++i) b[i] = of_slots(right + g * L, i);
        for (int64_t k = ptr[g]; k < ptr[g + 1]; ++k) {
            const T* a = left + int64_t(index[k]) * (kPacked ? N * kWidth<T> : L);
            const auto value = [&](int i) { return kPacked ? at(a, i) : of_slots(a, i); };
            V even = b[0] * value(0), odd = {};
            for (int i = 1; i < N; ++i) (i % 2 ? odd : even) += b[i] * value(i);
            sums.add(even + odd, from[k]);
        }
    }
    sums.flush();
}

// The slots of each hidden unit side by side, filled with zeros to whole vectors.
template <class T, int L, int S>
inline const T* side_by_side(const T* left, int64_t stride, int64_t hidden, Buffer<T>& memory) {
    constexpr int rows = Layout<T, L>::genes, width = (S + rows - 1) / rows * rows * L;
    T* to = memory.reserve(hidden * width);
    for (int64_t h = 0; h < hidden; ++h, to += width) {
        for (int s = 0; s < S; ++s) std::memcpy(to + s * L, left + s * stride + h * L, L * sizeof(T));
        if (width > S * L) std::memset(to + S * L, 0, (width - S * L) * sizeof(T));
    }
    return memory.data();
}

}  // namespace DASH_ISA
}  // namespace dash
