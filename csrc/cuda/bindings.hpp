// What the files of the bindings share.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <mutex>
#include <string>

#include "host.hpp"

namespace dash {
namespace gpu {

namespace py = pybind11;

extern std::mutex one_at_a_time;  // memory is kept from call to call

void bind_pruning(py::module_& module);

template <class T>
T* pointer(const py::handle& object, py::ssize_t size, const std::string& name, bool writable = false) {
    if (!py::isinstance<py::array_t<T>>(object)) throw py::value_error(name + " has the wrong dtype");
    const auto array = py::reinterpret_borrow<py::array>(object);
    if (array.size() != size || !(array.flags() & py::array::c_style))
        throw py::value_error(name + " must be a C-contiguous array of " + std::to_string(size) + " elements");
    if (writable && !array.writeable()) throw py::value_error(name + " must be writable");
    return static_cast<T*>(const_cast<void*>(array.data()));
}

}  // namespace gpu
}  // namespace dash
