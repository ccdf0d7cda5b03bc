// What the files of the bindings share.
#pragma once
#include <mutex>

#include "../python/arguments.hpp"
#include "host.hpp"

namespace dash {
namespace gpu {

namespace py = pybind11;

extern std::mutex one_at_a_time;  // memory is kept from call to call

// Without the interpreter's lock, and one call after another.
template <class F>
void alone(F f) {
    py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(one_at_a_time);
    f();
}

void bind_pruning(py::module_& module);

}  // namespace gpu
}  // namespace dash
