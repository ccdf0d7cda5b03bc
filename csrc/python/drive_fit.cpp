// drive_fit: rows of a target and its regulators' courses in, the drive that fits best out.
#include "../core/drive_fit.hpp"

#include "../cpu/dispatch.hpp"
#include "arguments.hpp"
#include "interrupt.hpp"
#include "operators.hpp"

namespace py = pybind11;
using namespace pybind11::literals;
using namespace dash::arguments;

namespace {

py::tuple drive_fit(const py::object& pieces, const py::object& level_ridge, const py::object& ridge,
                const py::object& least_level, const py::object& enough, const py::object& steps,
                const py::object& tries, dash::StopToken* stop) {
    return guarded("fit_drive", [&](dash::Extent& extent) {
        Arrays arrays;
        dash::DriveFitArgs args{};
        const py::list given = list_of(pieces, "pieces");
        std::vector<dash::DrivePiece> list;
        if (given.empty()) throw dash::ArgumentError("pieces must hold at least one");
        for (const py::handle& one : given) {
            const py::tuple parts = tuple_of(one, 3, "a piece", "courses, rows, data");
            dash::DrivePiece piece{};
            piece.points = length_of(parts[0], "courses", 0, 3), piece.n = length_of(parts[0], "courses", 1, 3);
            const int64_t k = length_of(parts[0], "courses", 2, 3);
            if (list.empty()) args.k = k;
            if (k != args.k) throw dash::ArgumentError("courses must be of equally many regulators in all pieces");
            piece.rows = length_of(parts[1], "rows", 0, 2);
            piece.courses = arrays.read<double>(parts[0], {piece.points, piece.n, k}, "courses");
            piece.weights = arrays.read<double>(parts[1], {piece.rows, piece.points}, "rows");
            piece.data = arrays.read<double>(parts[2], {piece.rows, piece.n}, "data");
            extent.samples += piece.points * piece.n;
            list.push_back(piece);
        }
        args.pieces = static_cast<int64_t>(list.size()), args.piece = list.data();
        args.level_ridge = number(level_ridge, "level_ridge", 0, HUGE_VAL, false);
        args.ridge = number(ridge, "ridge", 0, HUGE_VAL, false);
        args.least_level = number(least_level, "least_level", 0, HUGE_VAL, false);
        args.enough = number(enough, "enough", 0);
        args.steps = integer(steps, "steps", 1, 1000000), args.tries = integer(tries, "tries", 1, 1000);
        py::array_t<double> sums(1 + args.k), whole(2 + 2 * args.k);
        args.sums = sums.mutable_data(), args.whole = whole.mutable_data();
        extent.genes = args.k;
        dash::Interruptible watch(stop);
        args.watch = &watch;
        {
            py::gil_scoped_release release;
            dash::run(args);
        }
        return py::make_tuple(sums, whole, args.gained);
    });
}

const dash::Bind bind([](py::module_& module) {
    module.def("fit_drive", &drive_fit, "pieces"_a, "level_ridge"_a, "ridge"_a, "least_level"_a, "enough"_a, "steps"_a,
               "tries"_a, "stop"_a = py::none());
});

}  // namespace
