#include "form.hpp"

#include <algorithm>

#include "context.hpp"

namespace dash {
namespace gpu {

template <class T>
Pattern pattern_of(const Params<T>& params, int tensor, double compress_below) {
    Pattern s;
    const int64_t G = params.G, m = params.m;
    if (!is_matrix(tensor)) {
        s.values = tensor == V ? G : m;
        return s;
    }
    const bool hidden_rows = tensor == W_SUMS || tensor == W_PRODS;
    const int64_t rows = hidden_rows ? m : G, columns = hidden_rows ? G : m;
    const Structure& csr = params.structure[tensor];
    const uint8_t* mask = params.mask[tensor];
    const T* value = params.tensor[tensor];
    s.values = csr.ptr ? csr.ptr[rows] : rows * columns;
    auto active = [&](int64_t at) { return mask ? mask[at] != 0 : value[at] != T(0); };
    int64_t nnz = 0;
    for (int64_t at = 0; at < s.values; ++at) nnz += active(at);
    s.compressed = csr.ptr != nullptr || double(nnz) < compress_below * double(G * m);
    if (!s.compressed) return s;
    const int genes = padded_genes(static_cast<int>(G)), hidden = padded_hidden(static_cast<int>(m));
    struct Entry {
        uint16_t hidden, gene;
        int64_t at;
    };
    std::vector<Entry> entries;
    entries.reserve(nnz);
    for (int64_t r = 0; r < rows; ++r) {
        const int64_t end = csr.ptr ? csr.ptr[r + 1] : (r + 1) * columns;
        for (int64_t at = csr.ptr ? csr.ptr[r] : r * columns; at < end; ++at) {
            if (!active(at)) continue;
            const auto row = static_cast<uint16_t>(r);
            const auto column = static_cast<uint16_t>(csr.ptr ? csr.index[at] : at - r * columns);
            entries.push_back(hidden_rows ? Entry{row, column, at} : Entry{column, row, at});
        }
    }
    if (!hidden_rows)
        std::stable_sort(entries.begin(), entries.end(),
                         [](const Entry& a, const Entry& b) { return a.hidden < b.hidden; });
    s.ptr.assign(hidden + 1, 0), s.gene_ptr.assign(genes + 1, 0);
    for (const Entry& e : entries) {
        s.at.push_back(e.at), s.row.push_back(e.hidden), s.index.push_back(e.gene);
        ++s.ptr[e.hidden + 1], ++s.gene_ptr[e.gene + 1];
    }
    for (int h = 0; h < hidden; ++h) s.ptr[h + 1] += s.ptr[h];
    for (int g = 0; g < genes; ++g) s.gene_ptr[g + 1] += s.gene_ptr[g];
    std::vector<int32_t> next(s.gene_ptr.begin(), s.gene_ptr.end());
    s.gene_index.resize(entries.size()), s.gene_from.resize(entries.size());
    for (size_t k = 0; k < entries.size(); ++k) {
        const int32_t to = next[entries[k].gene]++;
        s.gene_index[to] = entries[k].hidden, s.gene_from[to] = static_cast<int32_t>(k);
    }
    return s;
}

template <class T>
T* put_values(const Pattern& s, const T* values, Arena& arena) {
    if (!values) return nullptr;
    if (!s.compressed) return arena.put(const_cast<T*>(values), s.values);
    T* host;
    T* device = arena.room(static_cast<int64_t>(s.at.size()), &host);
    for (size_t k = 0; host && k < s.at.size(); ++k) host[k] = values[s.at[k]];
    return device;
}

static MatrixForm put_form(const Pattern& s, bool hidden_rows, int64_t G, int64_t m, Arena& fixed) {
    MatrixForm form{};
    form.compressed = s.compressed;
    form.hidden_step = hidden_rows ? G : 1, form.gene_step = hidden_rows ? 1 : m;
    if (!s.compressed) return form;
    const auto nnz = static_cast<int64_t>(s.at.size());
    form.nnz = static_cast<int>(nnz);
    form.ptr = fixed.put(s.ptr.data(), static_cast<int64_t>(s.ptr.size()));
    form.gene_ptr = fixed.put(s.gene_ptr.data(), static_cast<int64_t>(s.gene_ptr.size()));
    form.row = fixed.put(s.row.data(), nnz);
    form.index = fixed.put(s.index.data(), nnz);
    form.gene_index = fixed.put(s.gene_index.data(), nnz);
    form.gene_from = fixed.put(s.gene_from.data(), nnz);
    return form;
}

template <class T>
Params<T> put_params(const Params<T>& params, const ModelPattern& s, Arena& state, Arena& fixed, ModelForm& form) {
    Params<T> out{params.G, params.m, {}, {}, {}};
    for (int i = 0; i < N_TENSORS; ++i) {
        out.tensor[i] = put_values(s.tensor[i], params.tensor[i], state);
        if (params.mask[i] && !s.tensor[i].compressed) out.mask[i] = fixed.put(params.mask[i], s.tensor[i].values);
    }
    for (int k = 0; k < 2; ++k) {
        form.W[k] = put_form(s.tensor[k ? W_PRODS : W_SUMS], true, params.G, params.m, fixed);
        form.U[k] = put_form(s.tensor[k ? U_PRODS : U_SUMS], false, params.G, params.m, fixed);
    }
    return out;
}

template <class T>
void take_values(const Pattern& s, const T* packed, T* values) {
    if (!s.compressed) {
        std::memcpy(values, packed, s.values * sizeof(T));
        return;
    }
    std::memset(values, 0, s.values * sizeof(T));
    for (size_t k = 0; k < s.at.size(); ++k) values[s.at[k]] = packed[k];
}

#define DASH_INSTANTIATE(T)                                                                        \
    template Pattern pattern_of<T>(const Params<T>&, int, double);                                 \
    template T* put_values<T>(const Pattern&, const T*, Arena&);                                   \
    template void take_values<T>(const Pattern&, const T*, T*);                                    \
    template Params<T> put_params<T>(const Params<T>&, const ModelPattern&, Arena&, Arena&, ModelForm&);
DASH_INSTANTIATE(float)
DASH_INSTANTIATE(double)

}  // namespace gpu
}  // namespace dash
