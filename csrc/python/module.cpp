// dash_hpc._native: NumPy arrays in, NumPy arrays out. Everything is checked in the files beside this one, whatever the
// Python side has checked: what the operators get is safe to read and to write.
#include <pybind11/stl.h>

#include "../cpu/dispatch.hpp"
#include "arguments.hpp"
#include "interrupt.hpp"
#include "operators.hpp"

namespace py = pybind11;
using namespace pybind11::literals;
using namespace dash::arguments;

PYBIND11_MODULE(_native, module) {
    module.doc() = "CPU operators of dash-hpc; use them through dash_hpc.ops.";
    register_errors();
    py::class_<dash::StopToken>(module, "StopToken", "Set from any thread, it ends the calls that were given it.")
        .def(py::init<>())
        .def("set", &dash::StopToken::set)
        .def("is_set", &dash::StopToken::is_set);
    module.def("build_info", [] {
        return py::dict("isa"_a = dash::level_name(), "built_isas"_a = dash::built_levels(),
                        "runnable_isas"_a = dash::runnable_levels(), "compiler"_a = __VERSION__);
    });
    module.def("set_isa", [](const py::object& wish) {
        const std::string name = text(wish, "instruction set");
        if (dash::choose_level(name)) return;
        std::string legal;
        for (const auto& level : dash::runnable_levels()) legal += (legal.empty() ? "" : ", ") + level;
        throw dash::ArgumentError("instruction set \"" + name +
                                  "\" cannot run here; this build and processor have: " + legal);
    });
    for (const dash::Binding bind : dash::bindings()) bind(module);
}
