// Python objects as what the operators take, for the bindings of every module. What is wrong leaves as
// dash_hpc.errors.UsageError and says which argument it is; memory that cannot be had leaves as MemoryError with its size.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "../core/types.hpp"

namespace dash {

namespace py = pybind11;

struct ArgumentError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The sizes of a call, for messages about memory.
struct Extent {
    int64_t genes = 0, hidden = 0, samples = 0;
};

namespace arguments {

inline std::string type_of(const py::handle& object) { return Py_TYPE(object.ptr())->tp_name; }

inline std::string quoted(const py::handle& object) {
    std::string text;
    try {
        text = py::repr(object).cast<std::string>();
    } catch (const std::exception&) {
        text = "a " + type_of(object);
    }
    return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

template <class T> inline const char* type_name();
template <> inline const char* type_name<float>() { return "float32"; }
template <> inline const char* type_name<double>() { return "float64"; }
template <> inline const char* type_name<int64_t>() { return "int64"; }
template <> inline const char* type_name<int32_t>() { return "int32"; }
template <> inline const char* type_name<bool>() { return "bool"; }

constexpr int64_t kAny = -1;  // a length that the array itself tells
constexpr double kBelowOne = 1 - 0x1p-53;
typedef std::vector<int64_t> Shape;

inline std::string text_of(const Shape& shape) {
    std::string text = "[";
    for (size_t i = 0; i < shape.size(); ++i)
        text += (i ? ", " : "") + (shape[i] == kAny ? std::string("any") : std::to_string(shape[i]));
    return text + "]";
}

inline py::array array_of(const py::handle& object, const std::string& name) {
    if (!py::isinstance<py::array>(object))
        throw ArgumentError(name + " must be a NumPy array, got " + type_of(object));
    return py::reinterpret_borrow<py::array>(object);
}

inline Shape shape_of(const py::array& array) { return Shape(array.shape(), array.shape() + array.ndim()); }

// The length of an array that says how many genes, samples, ... there are.
inline int64_t length_of(const py::handle& object, const std::string& name, int axis = 0, int axes = 1) {
    const py::array array = array_of(object, name);
    if (array.ndim() != axes)
        throw ArgumentError(name + " must have " + std::to_string(axes) + (axes == 1 ? " axis" : " axes") + ", got " +
                            text_of(shape_of(array)));
    return array.shape(axis);
}

// ---- scalars and containers

inline py::dict dictionary(const py::handle& object, const std::string& name) {
    if (!py::isinstance<py::dict>(object)) throw ArgumentError(name + " must be a dict, got " + type_of(object));
    return py::reinterpret_borrow<py::dict>(object);
}

inline py::object member(const py::dict& parts, const std::string& name) {
    if (!parts.contains(name.c_str())) throw ArgumentError(name + " is missing");
    return parts[name.c_str()];
}

inline py::tuple tuple_of(const py::handle& object, size_t size, const std::string& name, const char* parts) {
    if (!py::isinstance<py::tuple>(object) || py::len(object) != size)
        throw ArgumentError(name + " must be a tuple (" + parts + "), got " + type_of(object));
    return py::reinterpret_borrow<py::tuple>(object);
}

inline py::list list_of(const py::handle& object, const std::string& name) {
    if (!py::isinstance<py::list>(object)) throw ArgumentError(name + " must be a list, got " + type_of(object));
    return py::reinterpret_borrow<py::list>(object);
}

inline bool truth(const py::handle& object, const std::string& name) {
    if (!py::isinstance<py::bool_>(object)) throw ArgumentError(name + " must be True or False, got " + quoted(object));
    return object.ptr() == Py_True;
}

inline std::string text(const py::handle& object, const std::string& name) {
    if (!py::isinstance<py::str>(object)) throw ArgumentError(name + " must be text, got " + quoted(object));
    try {
        return object.cast<std::string>();
    } catch (const std::exception&) {  // not UTF-8
        throw ArgumentError(name + " must be text, got " + quoted(object));
    }
}

// A finite number from low to high; without `closed`, low itself is not allowed.
inline double number(const py::handle& object, const std::string& name, double low = -HUGE_VAL, double high = HUGE_VAL,
                     bool closed = true) {
    double value = NAN;
    if (!py::isinstance<py::bool_>(object) && !py::isinstance<py::str>(object)) {
        value = PyFloat_AsDouble(object.ptr());
        if (PyErr_Occurred()) PyErr_Clear(), value = NAN;
    }
    if (std::isfinite(value) && (closed ? value >= low : value > low) && value <= high) return value;
    std::string wanted = " must be a finite number";
    if (low > -HUGE_VAL)
        wanted += (closed ? " of at least " : " above ") + py::str(py::float_(low)).cast<std::string>();
    if (high < HUGE_VAL) wanted += " and at most " + py::str(py::float_(high)).cast<std::string>();
    throw ArgumentError(name + wanted + ", got " + quoted(object));
}

inline int64_t integer(const py::handle& object, const std::string& name, int64_t low, int64_t high) {
    if (!py::isinstance<py::bool_>(object)) {
        const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
        if (index) {
            int overflow = 0;
            const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
            if (!overflow && !PyErr_Occurred() && value >= low && value <= high) return value;
        }
        PyErr_Clear();
    }
    throw ArgumentError(name + " must be a whole number from " + std::to_string(low) + " to " + std::to_string(high) +
                        ", got " + quoted(object));
}

template <size_t N>
std::array<double, N> numbers(const py::handle& object, const std::string& name, double low) {
    if (!(py::isinstance<py::list>(object) || py::isinstance<py::tuple>(object)) || py::len(object) != N)
        throw ArgumentError(name + " must be a list of " + std::to_string(N) + " numbers");
    const auto parts = py::reinterpret_borrow<py::sequence>(object);
    std::array<double, N> values;
    for (size_t i = 0; i < N; ++i) values[i] = number(parts[i], name, low);
    return values;
}

inline int method_number(const py::handle& object) {
    const std::string name = text(object, "method");
    if (name == "dopri5") return 0;
    if (name == "rk4") return 1;
    throw ArgumentError("method must be dopri5 or rk4, got " + quoted(object));
}

inline SolveOptions options_of(const py::handle& method, const py::handle& rtol, const py::handle& atol,
                               const py::handle& step, const py::handle& max_steps) {
    return {method_number(method), number(rtol, "rtol", 0, HUGE_VAL, false), number(atol, "atol", 0, HUGE_VAL, false),
            number(step, "step", 0, HUGE_VAL, false), integer(max_steps, "max_steps", 1, kMostSteps), 0};
}

// ---- arrays

// The arrays of one call. Each is taken as it is, never as a copy, so that writing works; `settle` looks at all of them
// together for memory that is written to and used twice.
class Arrays {
  public:
    template <class T>
    const T* read(const py::handle& object, const Shape& shape, const std::string& name) {
        return take<T>(object, shape, name, false);
    }
    template <class T>
    T* write(const py::handle& object, const Shape& shape, const std::string& name) {
        return take<T>(object, shape, name, true);
    }

    void settle() {
        std::sort(used_.begin(), used_.end(), [](const Use& a, const Use& b) { return a.first < b.first; });
        const Use *furthest = nullptr, *furthest_written = nullptr;
        for (const Use& use : used_) {
            const Use* before = use.written ? furthest : furthest_written;
            if (before && use.first < before->end)
                throw ArgumentError(before->name + " and " + use.name + " share memory, and one of them is written to");
            if (!furthest || use.end > furthest->end) furthest = &use;
            if (use.written && (!furthest_written || use.end > furthest_written->end)) furthest_written = &use;
        }
    }

  private:
    struct Use {
        const char *first, *end;
        bool written;
        std::string name;
    };

    template <class T>
    T* take(const py::handle& object, const Shape& shape, const std::string& name, bool written) {
        constexpr int kAligned = 0x0100;  // NPY_ARRAY_ALIGNED
        const py::array array = array_of(object, name);
        if (!py::isinstance<py::array_t<T>>(array))
            throw ArgumentError(name + " must be " + type_name<T>() + " in the machine's byte order, got " +
                                quoted(array.dtype()));
        bool fits = array.ndim() == static_cast<py::ssize_t>(shape.size());
        for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] == kAny || shape[i] == array.shape(i);
        if (!fits) throw ArgumentError(name + " must be " + text_of(shape) + ", got " + text_of(shape_of(array)));
        if (!(array.flags() & py::array::c_style)) throw ArgumentError(name + " must be C-contiguous");
        if (!(array.flags() & kAligned)) throw ArgumentError(name + " must be aligned to its elements");
        if (written && !array.writeable()) throw ArgumentError(name + " must be writable");
        T* data = static_cast<T*>(const_cast<void*>(array.data()));
        if (array.size()) {
            const char* first = reinterpret_cast<const char*>(data);
            used_.push_back({first, first + array.nbytes(), written, name});
        }
        return data;
    }

    std::vector<Use> used_;
};

// A matrix by rows. Columns rise within a row; where `once`, none occurs twice.
template <class I>
struct Csr {
    const int64_t* ptr = nullptr;
    const I* index = nullptr;
    int64_t rows = 0, entries = 0;
};

template <class I>
Csr<I> csr_of(Arrays& arrays, const py::handle& ptr, const py::handle& index, int64_t rows, int64_t columns, bool once,
              const std::string& name) {
    Csr<I> A;
    A.ptr = arrays.read<int64_t>(ptr, {rows == kAny ? kAny : rows + 1}, name + " row pointers");
    A.index = arrays.read<I>(index, {kAny}, name + " columns");
    A.rows = length_of(ptr, name + " row pointers") - 1, A.entries = length_of(index, name + " columns");
    if (A.rows < 0 || A.ptr[0] != 0 || A.ptr[A.rows] != A.entries)
        throw ArgumentError(name + ": row pointers must run from 0 to the number of columns given, " +
                            std::to_string(A.entries));
    for (int64_t r = 0; r < A.rows; ++r)
        if (A.ptr[r] > A.ptr[r + 1] || A.ptr[r + 1] > A.entries)
            throw ArgumentError(name + ": row pointers fall after row " + std::to_string(r));
    for (int64_t r = 0; r < A.rows; ++r)
        for (int64_t k = A.ptr[r]; k < A.ptr[r + 1]; ++k) {
            const bool in_order = k == A.ptr[r] || (once ? A.index[k - 1] < A.index[k] : A.index[k - 1] <= A.index[k]);
            if (A.index[k] < 0 || A.index[k] >= columns || !in_order)
                throw ArgumentError(name + ": row " + std::to_string(r) + " has a column out of range or out of order");
        }
    return A;
}

inline void check_model(int64_t genes, int64_t hidden) {
    if (genes < 1 || hidden < 1) throw ArgumentError("a model needs at least one gene and one hidden unit");
    if (genes > INT32_MAX || hidden > INT32_MAX)
        throw ArgumentError("a model has at most 2147483647 genes and hidden units");
}

inline void check_intervals(const double* dt, int64_t count) {
    for (int64_t k = 0; k < count; ++k)
        if (!(std::isfinite(dt[k]) && dt[k] >= 0))
            throw ArgumentError("dt must be finite and 0 or more; entry " + std::to_string(k) + " is not");
}

// Recorded steps [B, n]: each sample's own, then zeros.
inline void check_step_sizes(const double* sizes, int64_t B, int64_t n) {
    for (int64_t b = 0; b < B; ++b)
        for (int64_t k = 0; k < n; ++k) {
            const double size = sizes[b * n + k];
            if (!(std::isfinite(size) && size >= 0) || (k > 0 && size > 0 && sizes[b * n + k - 1] == 0))
                throw ArgumentError("step_sizes must be finite and 0 or more, zeros only at the end; row " +
                                    std::to_string(b) + " is not so");
        }
}

// Numbers of pairs, of which there are N.
inline void check_pairs(const int64_t* index, int64_t count, int64_t N, const char* name) {
    for (int64_t k = 0; k < count; ++k)
        if (index[k] < 0 || index[k] >= N)
            throw ArgumentError(std::string(name) + " must lie in 0.." + std::to_string(N - 1) + ", entry " +
                                std::to_string(k) + " is " + std::to_string(index[k]));
}

struct Batches {
    const int64_t *ptr, *index;
    int64_t count;
};

// Batch k is index[ptr[k] .. ptr[k + 1]], of N pairs.
inline Batches batches_of(Arrays& arrays, const py::handle& ptr, const py::handle& index, int64_t N) {
    Batches found{arrays.read<int64_t>(ptr, {kAny}, "batch_ptr"), arrays.read<int64_t>(index, {kAny}, "batch_index"),
                  length_of(ptr, "batch_ptr") - 1};
    const int64_t used = length_of(index, "batch_index");
    bool rises = found.count >= 1 && found.ptr[0] == 0 && found.ptr[found.count] == used;
    for (int64_t k = 0; rises && k < found.count; ++k) rises = found.ptr[k] < found.ptr[k + 1];
    if (!rises)
        throw ArgumentError("batch_ptr must rise from 0 to len(batch_index), every batch with at least one pair");
    check_pairs(found.index, used, N, "batch_index");
    return found;
}

template <class T>
PriorLossArgs<T> prior_of(Arrays& arrays, const py::handle& object, int64_t genes) {
    const py::tuple parts = tuple_of(object, 5, "prior", "states, row pointers, columns, values, multipliers");
    PriorLossArgs<T> prior;
    prior.points = length_of(parts[0], "prior states", 0, 2);
    prior.states = arrays.read<T>(parts[0], {prior.points, genes}, "prior states");
    if (prior.points < 1) throw ArgumentError("prior states must hold at least one state");
    const Csr<int64_t> network = csr_of<int64_t>(arrays, parts[1], parts[2], genes, genes, false, "prior network");
    prior.ptr = network.ptr, prior.index = network.index;
    prior.value = arrays.read<double>(parts[3], {network.entries}, "prior network values");
    prior.multipliers = truth(parts[4], "prior multipliers");
    return prior;
}

// ---- what leaves a call

[[noreturn]] inline void raise_no_memory(const char* call, const Extent& extent, int64_t bytes) {
    std::string text = std::string(call) + ": out of memory";
    if (bytes) text += ": " + std::to_string(bytes) + " more bytes could not be had";
    text += " (" + std::to_string(extent.genes) + " genes, " + std::to_string(extent.hidden) + " hidden units, " +
            std::to_string(extent.samples) + " samples or entries); ask for less at once";
    PyErr_SetString(PyExc_MemoryError, text.c_str());
    throw py::error_already_set();
}

// A vector of n elements, the new ones with this value.
template <class T>
void resize(std::vector<T>& vector, size_t n, T value) {
    try {
        vector.resize(n, value);
    } catch (const std::bad_alloc&) {
        throw OutOfMemory{static_cast<int64_t>(n * sizeof(T))};
    }
}

// The body of a call; it notes its sizes in the Extent.
template <class F>
auto guarded(const char* call, F body) -> decltype(body(std::declval<Extent&>())) {
    Extent extent;
    try {
        return body(extent);
    } catch (const OutOfMemory& error) {
        raise_no_memory(call, extent, error.bytes);
    } catch (const std::bad_alloc&) {
        raise_no_memory(call, extent, 0);
    } catch (const std::length_error&) {  // more than a vector can ever hold
        raise_no_memory(call, extent, 0);
    }
}

inline void raise_as(const char* name, const char* text) {
    py::set_error(py::module_::import("dash_hpc.errors").attr(name), text);
}

// Local to a module: each has classes of its own.
inline void register_errors() {
    py::register_local_exception_translator([](std::exception_ptr error) {
        try {
            if (error) std::rethrow_exception(error);
        } catch (const ArgumentError& wrong) {
            raise_as("UsageError", wrong.what());
        } catch (const Stopped&) {
            raise_as("Interrupted", "the call was ended because the thread that waits for it was interrupted");
        }
    });
}

}  // namespace arguments
}  // namespace dash
