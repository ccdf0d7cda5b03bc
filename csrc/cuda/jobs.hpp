// Jobs as dictionaries of NumPy arrays: what the bindings of several operators take in.
#pragma once
#include "../python/model.hpp"
#include "bindings.hpp"

namespace dash {
namespace gpu {

using namespace arguments;

inline constexpr std::array<int, 4> kMatrices = {W_SUMS, W_PRODS, U_SUMS, U_PRODS};

inline bool is_float(const py::handle& weights) {
    const py::object v = array_of(member(dictionary(weights, "weights"), "v"), "v");
    if (py::isinstance<py::array_t<float>>(v)) return true;
    if (py::isinstance<py::array_t<double>>(v)) return false;
    throw ArgumentError("weights must be float32 or float64, v is " + quoted(array_of(v, "v").dtype()));
}

inline SolveOptions options_in(const py::dict& job) {
    const py::dict solver = dictionary(member(job, "solver"), "solver");
    return options_of(member(solver, "method"), member(solver, "rtol"), member(solver, "atol"), member(solver, "step"),
                      member(solver, "max_steps"));
}

template <class T>
Objective<T> objective_in(Arrays& arrays, const py::dict& job, int64_t G) {
    return objective_of<T>(arrays, {member(job, "y0"), member(job, "y1"), member(job, "dt"), member(job, "tau"),
                                    member(job, "prior"), options_in(job)}, G);
}

// An array of the weights that is only read, or changed in place.
template <class T>
T* weights_in(Arrays& arrays, const py::handle& object, const Shape& shape, const std::string& name, bool writable) {
    return writable ? arrays.write<T>(object, shape, name) : const_cast<T*>(arrays.read<T>(object, shape, name));
}

// A matrix of the weights: an array, or (row pointers, columns, values) of its rows.
template <class T>
HostMatrix<T> matrix_of(Arrays& arrays, const py::dict& weights, int tensor, int64_t G, int64_t m, bool writable,
                        Shape* shape) {
    HostMatrix<T> A{};
    const std::string name = kNames[tensor];
    const py::object found = member(weights, name);
    A.rows_are_hidden = tensor == W_SUMS || tensor == W_PRODS;
    const int64_t rows = A.rows_are_hidden ? m : G, columns = A.rows_are_hidden ? G : m;
    if (py::isinstance<py::tuple>(found)) {
        const py::tuple parts = tuple_of(found, 3, name, "row pointers, columns, values");
        const Csr<int32_t> csr = csr_of<int32_t>(arrays, parts[0], parts[1], rows, columns, true, name);
        if (csr.entries > INT32_MAX) throw ArgumentError(name + " has more than 2147483647 entries");
        *shape = {csr.entries};
        A.ptr = csr.ptr, A.column = csr.index;
        A.value = weights_in<T>(arrays, parts[2], *shape, name, writable);
    } else {
        // the kernels count entries in 32 bits; an array of that size would be 8 GiB
        if ((G + kLanes) * (m + kHidden) > INT32_MAX)
            throw ArgumentError(name + " is too large for the GPU; hold it compressed");
        *shape = {rows, columns};
        A.value = weights_in<T>(arrays, found, *shape, name, writable);
    }
    return A;
}

template <class T>
struct Checked {
    HostModel<T> model;
    Shape shape[4];
};

template <class T>
Checked<T> model_of(Arrays& arrays, const py::dict& job, bool training) {
    Checked<T> out{};
    const py::dict weights = dictionary(member(job, "weights"), "weights"), masks = dictionary(member(job, "masks"), "masks");
    const int64_t G = length_of(member(weights, "v"), "v"), m = length_of(member(weights, "b_sums"), "b_sums");
    if (G < 1 || m < 1 || G >= 65536 - 64 || m >= 65536 - 64)
        throw ArgumentError("genes and hidden units must number 1 to 65471");
    out.model.G = G, out.model.m = m;
    for (int i = 0; i < 4; ++i) {
        const std::string name = kNames[kMatrices[i]];
        HostMatrix<T>& A = out.model.matrix[i];
        A = matrix_of<T>(arrays, weights, kMatrices[i], G, m, training, &out.shape[i]);
        if (masks.contains(name.c_str()))
            A.mask = reinterpret_cast<const uint8_t*>(
                arrays.read<bool>(member(masks, name), out.shape[i], "mask of " + name));
        else if (training)
            throw ArgumentError("mask of " + name + " is missing");
    }
    out.model.b[0] = weights_in<T>(arrays, member(weights, "b_sums"), {m}, "b_sums", training);
    out.model.b[1] = weights_in<T>(arrays, member(weights, "b_prods"), {m}, "b_prods", training);
    out.model.v = weights_in<T>(arrays, member(weights, "v"), {G}, "v", training);
    return out;
}

inline Choices choices_of(const py::handle& object) {
    const py::dict choices = dictionary(object, "choices");
    return {number(member(choices, "compress_below"), "compress_below", 0),
            integer(member(choices, "shared_bytes"), "shared_bytes", 0, INT32_MAX),
            integer(member(choices, "state_limit"), "state_limit", 0, kMostSteps),
            static_cast<int>(integer(member(choices, "team"), "team", -1, 1))};
}

inline bool first_is_float(const py::list& jobs) { return is_float(member(dictionary(jobs[0], "job"), "weights")); }

}  // namespace gpu
}  // namespace dash
