// course_moves: a step of the latents in, how courses or their features move out.
#include "../core/course_moves.hpp"

#include "../cpu/dispatch.hpp"
#include "arguments.hpp"
#include "interrupt.hpp"
#include "operators.hpp"

namespace py = pybind11;
using namespace pybind11::literals;
using namespace dash::arguments;

namespace {

py::array_t<double> course_moves(const py::object& step, const py::object& points, const py::object& moves,
                                 const py::object& courses, const py::object& genes, dash::StopToken* stop) {
    return guarded("course_moves", [&](dash::Extent& extent) {
        Arrays arrays;
        dash::CourseMovesArgs args{};
        args.trajectories = length_of(step, "step", 0, 2), args.latents = length_of(step, "step", 1, 2);
        args.step = arrays.read<double>(step, {args.trajectories, args.latents}, "step");
        args.points = integer(points, "points", 0, INT32_MAX);
        const py::list given = list_of(moves, "moves");
        args.chosen = static_cast<int64_t>(given.size());
        std::vector<dash::CourseMove> list;
        for (const py::handle& one : given) {
            dash::CourseMove course{};
            if (!one.is_none()) {
                const py::tuple parts = tuple_of(one, 2, "a move", "latents, derivatives");
                course.n = length_of(parts[0], "latents");
                course.latents = arrays.read<int64_t>(parts[0], {course.n}, "latents");
                for (int64_t k = 0; k < course.n; ++k)
                    if (course.latents[k] < 0 || course.latents[k] >= args.latents)
                        throw dash::ArgumentError("latents must be places in the step");
                if (!parts[1].is_none())
                    course.moves = arrays.read<double>(parts[1], {args.points, course.n, args.trajectories}, "derivatives");
                else if (course.n != 1)
                    throw dash::ArgumentError("a course without derivatives is one latent");
            }
            list.push_back(course);
        }
        args.course = list.data();
        if (!courses.is_none()) {
            args.genes = length_of(courses, "courses", 2, 3);
            args.courses = arrays.read<double>(courses, {args.trajectories, args.points, args.genes}, "courses");
            args.gene = arrays.read<int64_t>(genes, {args.chosen}, "genes");
            for (int64_t c = 0; c < args.chosen; ++c)
                if (args.gene[c] < 0 || args.gene[c] >= args.genes)
                    throw dash::ArgumentError("genes must be genes of the courses");
        }
        py::array_t<double> found({args.trajectories, args.points, args.chosen});
        args.out = found.mutable_data();
        extent = {args.chosen, args.latents, args.trajectories * args.points};
        dash::Interruptible watch(stop);
        args.watch = &watch;
        {
            py::gil_scoped_release release;
            dash::run(args);
        }
        return found;
    });
}

const dash::Bind bind([](py::module_& module) {
    module.def("course_moves", &course_moves, "step"_a, "points"_a, "moves"_a, "courses"_a, "genes"_a,
               "stop"_a = py::none());
});

}  // namespace
