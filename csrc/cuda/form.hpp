// From the caller's model to the form in which the device has it, and back.
#pragma once
#include "arena.hpp"

namespace dash {
namespace gpu {

// How the device has a tensor of a model: as the caller does, or the active entries of a matrix in the kernels' order.
struct Pattern {
    bool compressed = false;
    int64_t values = 0;         // of the caller's array
    std::vector<int64_t> at;    // compressed: the entry's place in the caller's values
    std::vector<uint16_t> row, index, gene_index;
    std::vector<int32_t> ptr, gene_ptr, gene_from;

    int64_t entries() const { return compressed ? static_cast<int64_t>(at.size()) : values; }  // that the kernel has
};

inline bool is_matrix(int tensor) { return tensor != B_SUMS && tensor != B_PRODS && tensor != V; }

template <class T>
Pattern pattern_of(const Params<T>& params, int tensor, double compress_below);

struct ModelPattern {
    Pattern tensor[N_TENSORS];
    ModelPattern() = default;
    template <class T>
    ModelPattern(const Params<T>& params, double compress_below) {
        for (int i = 0; i < N_TENSORS; ++i) tensor[i] = pattern_of(params, i, compress_below);
    }
};

// A tensor's values, or what belongs to them, into an arena; null for null.
template <class T>
T* put_values(const Pattern& s, const T* values, Arena& arena);
// Back into the caller's array; entries that are not active become 0.
template <class T>
void take_values(const Pattern& s, const T* packed, T* values);

// A model into the arenas: what a kernel changes, and what it only reads.
template <class T>
Params<T> put_params(const Params<T>& params, const ModelPattern& s, Arena& state, Arena& fixed, ModelForm& form);

}  // namespace gpu
}  // namespace dash
