// The memory of a tile's forward integration: per iteration the step sizes and the slots of its stages, or, where that
// would take too much, the state from which they can be computed again.
#pragma once
#include "model.hpp"

namespace dash {
namespace DASH_ISA {

constexpr int kStages = 6;

template <class T, int L>
class Tape {
  public:
    // Keep: slots of as many iterations as fit into the budget, whole chunks; else only the derivatives of the current
    // and the next one.
    void prepare(int64_t rows, int64_t hidden, bool keep) {
        rows_ = rows, hidden_ = hidden, keep_ = keep;
        size_ = keep ? Slot<T, L>::size(rows, hidden) : rows * L;
        group_ = kStages * size_;
        if (!keep) shared_.zeros(Slot<T, L>::size(rows, hidden));
        capacity_ = keep ? kBudget / (kChunk * group_ * int64_t(sizeof(T))) * kChunk : 0;
        iterations_ = 0;
    }

    // Slots of iteration n. Those beyond the capacity share the groups of one chunk in turn, or two where nothing is
    // kept.
    Slot<T, L> slot(int64_t n, int stage) {
        const int64_t group = n < capacity_ ? n : capacity_ + n % (keep_ ? kChunk : 2);
        const int64_t chunk = group / kChunk;
        while (chunk >= chunks_) grow();
        T* memory = table_[chunk]->data() + (group % kChunk) * group_;
        if (!keep_) return {memory + stage * size_, shared_.data(), rows_, hidden_};
        return {memory + stage * size_, rows_, hidden_};
    }

    // Record iteration n: the step sizes of the samples that accepted it (0 for the others) and the state before it.
    void record(int64_t n, const T* size, const T* state) {
        if (!keep_) return;
        T* sizes = sizes_.grow((n + 1) * L);
        std::memcpy(sizes + n * L, size, L * sizeof(T));
        if (n >= capacity_) {
            T* states = states_.grow((n + 1 - capacity_) * rows_ * L);
            std::memcpy(states + (n - capacity_) * rows_ * L, state, rows_ * L * sizeof(T));
        }
        iterations_ = n + 1;
    }

    int64_t iterations() const { return iterations_; }
    bool has_slots(int64_t n) const { return n < capacity_; }
    const T* size(int64_t n) const { return sizes_.data() + n * L; }
    const T* state(int64_t n) const { return states_.data() + (n - capacity_) * rows_ * L; }
    int64_t slot_size() const { return size_; }
    // Iterations whose slots lie one behind the other, so that one product over them can form the gradients.
    static constexpr int64_t kChunk = 4;

    int64_t bytes() const { return chunks_ * kChunk * group_ * int64_t(sizeof(T)); }

    Tape() = default;
    Tape(const Tape&) = delete;
    Tape& operator=(const Tape&) = delete;
    ~Tape() {
        for (int64_t i = 0; i < chunks_; ++i) delete table_[i];
    }

  private:
    static constexpr int64_t kBudget = int64_t(256) << 20;  // bytes

    void grow() {
        Buffer<T>** table = pointers_.grow(chunks_ + 1);
        Buffer<T>* chunk = new Buffer<T>;
        table[chunks_++] = chunk;
        table_ = table;
        chunk->zeros(kChunk * group_);  // padded rows stay 0 for good
    }

    int64_t rows_ = 0, hidden_ = 0, size_ = 0, group_ = 0, capacity_ = 0, iterations_ = 0, chunks_ = 0;
    bool keep_ = false;
    Buffer<Buffer<T>*> pointers_;
    Buffer<T>** table_ = nullptr;
    Buffer<T> sizes_, states_, shared_;
};

}  // namespace DASH_ISA
}  // namespace dash
