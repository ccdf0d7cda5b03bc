// regulators: the question of one gene in, its regulators and the evidence for each candidate out.
#include "../core/regulators.hpp"

#include "../cpu/dispatch.hpp"
#include "arguments.hpp"
#include "interrupt.hpp"
#include "operators.hpp"

namespace py = pybind11;
using namespace pybind11::literals;
using namespace dash::arguments;

namespace {

void check_finite(const double* values, int64_t n, const char* name) {
    for (int64_t k = 0; k < n; ++k)
        if (!std::isfinite(values[k])) throw dash::ArgumentError(std::string(name) + " must be finite");
}

py::tuple regulators(const py::object& drive_data, const py::object& other_data, const py::object& fixed_drive,
                     const py::object& fixed_others, const py::object& fixed_precision, const py::object& drive,
                     const py::object& others, const py::object& prior, const py::object& sign, const py::object& start,
                     const py::object& drive_variance, const py::object& other_variance, const py::object& free_others,
                     const py::object& drive_floor, const py::object& other_floor, const py::object& inflation,
                     const py::object& level, const py::object& slope, const py::object& log_weights,
                     dash::StopToken* stop) {
    return guarded("find_regulators", [&](dash::Extent& extent) {
        Arrays arrays;
        dash::RegulatorsArgs args{};
        args.n_drive = length_of(drive_data, "drive_data"), args.n_others = length_of(other_data, "other_data");
        args.fixed = length_of(fixed_precision, "fixed_precision"), args.candidates = length_of(prior, "prior");
        args.starts = length_of(start, "start");
        const int64_t a = args.n_drive, b = args.n_others, f = args.fixed, C = args.candidates;
        args.drive_data = arrays.read<double>(drive_data, {a}, "drive_data");
        args.other_data = arrays.read<double>(other_data, {b}, "other_data");
        args.fixed_drive = arrays.read<double>(fixed_drive, {a, f}, "fixed_drive");
        args.fixed_others = arrays.read<double>(fixed_others, {b, f}, "fixed_others");
        args.fixed_precision = arrays.read<double>(fixed_precision, {f}, "fixed_precision");
        args.drive = arrays.read<double>(drive, {a, C}, "drive");
        args.others = arrays.read<double>(others, {b, C}, "others");
        args.prior = arrays.read<double>(prior, {C}, "prior");
        args.sign = arrays.read<int64_t>(sign, {C}, "sign");
        args.start = arrays.read<int64_t>(start, {args.starts}, "start");
        args.slab.log_weights = arrays.read<double>(log_weights, {4, 4}, "log_weights");
        check_finite(args.prior, C, "prior");
        check_finite(args.slab.log_weights, 16, "log_weights");
        for (int64_t k = 0; k < f; ++k)
            if (!(std::isfinite(args.fixed_precision[k]) && args.fixed_precision[k] > 0))
                throw dash::ArgumentError("fixed_precision must be finite and above 0");
        for (int64_t k = 0; k < C; ++k)
            if (args.sign[k] < -1 || args.sign[k] > 1) throw dash::ArgumentError("sign must be -1, 0 or 1");
        std::vector<bool> seen(C, false);
        for (int64_t k = 0; k < args.starts; ++k) {
            if (args.start[k] < 0 || args.start[k] >= C || seen[args.start[k]])
                throw dash::ArgumentError("start must hold different places among the candidates");
            seen[args.start[k]] = true;
        }
        args.drive_variance = number(drive_variance, "drive_variance", 0, HUGE_VAL, false);
        args.other_variance = number(other_variance, "other_variance", 0, HUGE_VAL, false);
        args.free_drive = a, args.free_others = integer(free_others, "free_others", 0, INT64_MAX);
        args.drive_floor = number(drive_floor, "drive_floor", 0, HUGE_VAL, false);
        args.other_floor = number(other_floor, "other_floor", 0, HUGE_VAL, false);
        args.inflation = number(inflation, "inflation", 1);
        args.slab.level = number(level, "level"), args.slab.slope = number(slope, "slope");
        const int64_t most = std::max(args.starts, dash::kMostRegulators);
        py::array_t<int64_t> members(most);
        py::array_t<double> coefficients(f + most), log_bf(C), score(C), information(C), expected(C);
        args.members = members.mutable_data(), args.coefficients = coefficients.mutable_data();
        args.log_bf = log_bf.mutable_data(), args.score = score.mutable_data();
        args.information = information.mutable_data(), args.expected = expected.mutable_data();
        extent = {C, f, a + b};
        dash::Interruptible watch(stop);
        args.watch = &watch;
        {
            py::gil_scoped_release release;
            dash::run(args);
        }
        const py::slice found(0, args.count, 1), used(0, f + args.count, 1);
        return py::make_tuple(members[found], coefficients[used], args.drive_variance, args.other_variance, log_bf,
                              score, information, expected);
    });
}

const dash::Bind bind([](py::module_& module) {
    module.def("find_regulators", &regulators, "drive_data"_a, "other_data"_a, "fixed_drive"_a, "fixed_others"_a,
               "fixed_precision"_a, "drive"_a, "others"_a, "prior"_a, "sign"_a, "start"_a, "drive_variance"_a,
               "other_variance"_a, "free_others"_a, "drive_floor"_a, "other_floor"_a, "inflation"_a, "level"_a, "slope"_a,
               "log_weights"_a, "stop"_a = py::none());
});

}  // namespace
