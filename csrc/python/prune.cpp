// prior_terms and select.
#include "../cpu/dispatch.hpp"
#include "../cpu/select.hpp"
#include "interrupt.hpp"
#include "model.hpp"
#include "operators.hpp"

namespace py = pybind11;
using namespace pybind11::literals;
using namespace dash::arguments;
using dash::Extent;

namespace {

struct Sparse {
    Csr<int64_t> csr;
    const double* value;
};

Sparse sparse_of(Arrays& arrays, const py::object& object, int64_t rows, int64_t columns, const std::string& name) {
    const py::tuple parts = tuple_of(object, 3, name, "row pointers, columns, values");
    const Csr<int64_t> csr = csr_of<int64_t>(arrays, parts[0], parts[1], rows, columns, false, name);
    return {csr, arrays.read<double>(parts[2], {csr.entries}, name + " values")};
}

// (first or None, second or None, condition, rho, True), or None when Cholesky is not safe
py::tuple prior_terms(const py::object& S, const py::object& C, const py::object& P, const py::object& ridge,
                      dash::StopToken* stop) {
    return guarded("prior_terms", [&](Extent& extent) {
        Arrays arrays;
        dash::PriorTermsArgs args{};
        args.m = length_of(S, "S", 0, 2), args.G = length_of(S, "S", 1, 2);
        check_model(args.G, args.m);
        args.S = arrays.read<double>(S, {args.m, args.G}, "S");
        args.ridge = number(ridge, "ridge", 0);
        py::object first = py::none(), second = py::none();
        if (!C.is_none()) {
            const Sparse c = sparse_of(arrays, C, args.G, args.G, "C");
            args.c_ptr = c.csr.ptr, args.c_index = c.csr.index, args.c_value = c.value;
            py::array_t<double> out({args.m, args.G});
            args.first = out.mutable_data();
            first = out;
        }
        if (!P.is_none()) {
            const Sparse p = sparse_of(arrays, P, kAny, args.G, "P");
            args.targets = p.csr.rows;
            args.p_ptr = p.csr.ptr, args.p_index = p.csr.index, args.p_value = p.value;
            py::array_t<double> out({args.targets, args.m});
            args.second = out.mutable_data();
            second = out;
        }
        extent = {args.G, args.m, args.targets};
        dash::Interruptible watch(stop);
        args.watch = &watch;
        {
            py::gil_scoped_release release;
            dash::run(args);
        }
        if (!args.ok) first = second = py::none(), args.rho = 0;
        return py::tuple(py::make_tuple(first, second, args.condition, args.rho, args.ok));
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
