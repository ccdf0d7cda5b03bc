// What the files of the bindings share.
#pragma once
#include <mutex>

#include "../python/arguments.hpp"
#include "../python/operators.hpp"
#include "arena.hpp"

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

constexpr int64_t kMostEntries = int64_t(1) << 30;  // of an array: the kernels count in 32 bits

}  // namespace gpu
}  // namespace dash
