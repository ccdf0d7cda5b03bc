// Where the files of this folder put what they bind; module.cpp binds all of it.
#pragma once
#include <pybind11/pybind11.h>

#include <vector>

namespace dash {

typedef void (*Binding)(pybind11::module_&);

inline std::vector<Binding>& bindings() {
    static std::vector<Binding> all;
    return all;
}

// At namespace scope: `static const dash::Bind solve([](py::module_& module) { module.def(...); });`
struct Bind {
    explicit Bind(Binding bind) { bindings().push_back(bind); }
};

}  // namespace dash
