// prior_terms and select.
#include "../cpu/dispatch.hpp"
#include "../cpu/select.hpp"
#include "interrupt.hpp"
#include "operators.hpp"
#include "prune_calls.hpp"

namespace py = pybind11;
using namespace pybind11::literals;
using namespace dash::arguments;
using dash::Extent;

namespace {

py::tuple prior_terms(const py::object& S, const py::object& C, const py::object& P, const py::object& ridge,
                      dash::StopToken* stop) {
    return guarded("prior_terms", [&](Extent& extent) {
        Arrays arrays;
        PriorTermsCall call(arrays, S, C, P, ridge);
        extent = {call.args.G, call.args.m, call.args.targets};
        dash::Interruptible watch(stop);
        call.args.watch = &watch;
        {
            py::gil_scoped_release release;
            dash::run(call.args);
        }
        return call.results(call.args);
    });
}

py::tuple select_entries(const py::object& score, const py::object& mask, const py::object& n) {
    return guarded("select", [&](Extent& extent) {
        Arrays arrays;
        const Shape shape = shape_of(array_of(mask, "mask"));
        const bool* active = arrays.read<bool>(mask, shape, "mask");
        const double* scores = arrays.read<double>(score, shape, "score");
        py::array_t<bool> out(std::vector<py::ssize_t>(shape.begin(), shape.end()));
        const int64_t size = out.size();
        extent.samples = size;
        std::copy(active, active + size, out.mutable_data());
        int64_t count = 0;
        for (int64_t i = 0; i < size; ++i) {
            count += active[i];
            if (active[i] && !std::isfinite(scores[i]))
                throw dash::ArgumentError("score of active entry " + std::to_string(i) + " is not finite");
        }
        const int64_t remove = integer(n, "n", 0, count);
        double threshold;
        {
            auto* bits = reinterpret_cast<uint8_t*>(out.mutable_data());
            py::gil_scoped_release release;
            threshold = dash::select_smallest(scores, bits, size, remove);
        }
        return py::make_tuple(out, threshold);
    });
}

const dash::Bind bind([](py::module_& module) {
    module.def("prior_terms", &prior_terms, "S"_a, "C"_a, "P"_a, "ridge"_a, "stop"_a = py::none());
    module.def("select", &select_entries, "score"_a, "mask"_a, "n"_a);
});

}  // namespace
