// The arrays of a PHOENIX model as the caller holds them, checked.
#pragma once
#include "arguments.hpp"

namespace dash {
namespace arguments {

inline constexpr std::array<const char*, N_TENSORS> kNames = {"W_sums", "b_sums",  "W_prods", "b_prods",
                                                         "U_sums", "U_prods", "v"};

struct Sizes {
    int64_t G, m;
};

inline bool prunable(int tensor) {
    return tensor != V && tensor != B_SUMS && tensor != B_PRODS;
}

// The arrays and masks of a model as the caller holds them.
struct Given {
    py::dict weights, masks;
    Sizes sizes;
    bool single;  // float32
};

inline Given given_of(const py::object& weights, const py::object& masks) {
    Given given{dictionary(weights, "weights"), dictionary(masks, "masks"), {}, false};
    const py::object v = member(given.weights, "v");
    given.sizes = {length_of(v, "v"), length_of(member(given.weights, "b_sums"), "b_sums")};
    check_model(given.sizes.G, given.sizes.m);
    given.single = py::isinstance<py::array_t<float>>(v);
    if (!given.single && !py::isinstance<py::array_t<double>>(v))
        throw ArgumentError("weights must be float32 or float64, v is " + quoted(array_of(v, "v").dtype()));
    for (const auto& item : given.masks) {
        const std::string name = text(item.first, "masks: a tensor's name");
        bool known = false;
        for (int i = 0; i < N_TENSORS; ++i) known = known || (prunable(i) && name == kNames[i]);
        if (!known) throw ArgumentError("masks: " + quoted(item.first) + " is no tensor that has a mask");
    }
    return given;
}

// One tensor: the shape of its values, and where they lie when it is compressed.
struct Form {
    Shape shape;
    Structure structure;
    py::object values;
};

inline Form form_of(Arrays& arrays, const Given& given, int tensor) {
    const auto [G, m] = given.sizes;
    const std::string name = kNames[tensor];
    const py::object found = member(given.weights, name);
    if (!prunable(tensor)) return {{tensor == V ? G : m}, {}, found};
    const bool genes_first = tensor == U_SUMS || tensor == U_PRODS;
    const int64_t rows = genes_first ? G : m, columns = genes_first ? m : G;
    if (!py::isinstance<py::tuple>(found)) {
        if (rows > INT32_MAX / columns)
            throw ArgumentError(name + " has more than 2147483647 entries; hold it compressed");
        return {{rows, columns}, {}, found};
    }
    const py::tuple parts = tuple_of(found, 3, name, "row pointers, columns, values");
    const Csr<int32_t> A = csr_of<int32_t>(arrays, parts[0], parts[1], rows, columns, true, name);
    if (A.entries > INT32_MAX) throw ArgumentError(name + " has more than 2147483647 entries");
    return {{A.entries}, {A.ptr, A.index}, parts[2]};
}

inline const uint8_t* mask_of(Arrays& arrays, const Given& given, int tensor, const Shape& shape) {
    const char* name = kNames[tensor];
    if (!prunable(tensor) || !given.masks.contains(name)) return nullptr;
    return reinterpret_cast<const uint8_t*>(
        arrays.read<bool>(given.masks[name], shape, std::string("mask of ") + name));
}

template <class T>
Params<T> params_of(Arrays& arrays, const Given& given) {
    Params<T> params{given.sizes.G, given.sizes.m, {}, {}, {}};
    for (int i = 0; i < N_TENSORS; ++i) {
        const Form form = form_of(arrays, given, i);
        params.tensor[i] = arrays.read<T>(form.values, form.shape, kNames[i]);
        params.mask[i] = mask_of(arrays, given, i, form.shape);
        params.structure[i] = form.structure;
    }
    return params;
}

// What a model is trained on, as the caller gives it.
struct GivenObjective {
    py::object y0, y1, dt, tau, prior;
    SolveOptions options;
};

template <class T>
Objective<T> objective_of(Arrays& arrays, const GivenObjective& given, int64_t G) {
    Objective<T> objective{};
    const int64_t N = length_of(given.dt, "dt");
    objective.options = given.options;
    objective.N = N;
    objective.y0 = arrays.read<T>(given.y0, {N, G}, "y0");
    objective.y1 = arrays.read<T>(given.y1, {N, G}, "y1");
    objective.dt = arrays.read<double>(given.dt, {N}, "dt");
    check_intervals(objective.dt, N);
    objective.tau = number(given.tau, "tau", 0, 1);
    if (!given.prior.is_none())
        objective.prior = prior_of<T>(arrays, given.prior, G);
    else if (objective.tau < 1)
        throw ArgumentError("tau below 1 needs a prior");
    return objective;
}

}  // namespace arguments
}  // namespace dash
