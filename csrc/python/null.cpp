// null: an array in, its copy out.
#include "../core/null.hpp"

#include "../cpu/dispatch.hpp"
#include "arguments.hpp"
#include "operators.hpp"

namespace py = pybind11;
using namespace pybind11::literals;
using namespace dash::arguments;

namespace {

template <class T>
py::array null_as(const py::object& values) {
    return guarded("null", [&](dash::Extent& extent) {
        Arrays arrays;
        const Shape shape = shape_of(array_of(values, "values"));
        py::array_t<T> out(std::vector<py::ssize_t>(shape.begin(), shape.end()));
        dash::NullArgs<T> args{out.size(), arrays.read<T>(values, shape, "values"), out.mutable_data()};
        extent.samples = args.size;
        {
            py::gil_scoped_release release;
            dash::run(args);
        }
        return py::array(out);
    });
}

py::array null(const py::object& values) {
    return py::isinstance<py::array_t<float>>(array_of(values, "values")) ? null_as<float>(values)
                                                                         : null_as<double>(values);
}

const dash::Bind bind([](py::module_& module) { module.def("null", &null, "values"_a); });

}  // namespace
