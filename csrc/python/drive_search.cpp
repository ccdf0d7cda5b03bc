// drive_search: rows of one gene and the features of all in, its regulators, their evidence and its drive out.
#include "../core/drive_search.hpp"

#include "../cpu/dispatch.hpp"
#include "arguments.hpp"
#include "interrupt.hpp"
#include "operators.hpp"

namespace py = pybind11;
using namespace pybind11::literals;
using namespace dash::arguments;

namespace {

constexpr const char* kParts = "features, members, weights, data, constant, centred, shift";

dash::SearchPart part_of(Arrays& arrays, const py::handle& given, int64_t& genes, int64_t candidates) {
    const py::tuple values = tuple_of(given, 7, "a part", kParts);
    dash::SearchPart part{};
    part.points = length_of(values[0], "features", 0, 3), part.block = length_of(values[0], "features", 1, 3);
    const int64_t own = length_of(values[0], "features", 2, 3);
    if (genes == kAny) genes = own;
    part.n = length_of(values[1], "members"), part.rows = length_of(values[2], "weights", 0, 2);
    if (part.rows < 1) throw dash::ArgumentError("weights must hold at least one row");
    part.features = arrays.read<double>(values[0], {part.points, part.block, genes}, "features");
    part.members = arrays.read<int64_t>(values[1], {part.n}, "members");
    part.weights = arrays.read<double>(values[2], {part.rows, part.points}, "weights");
    part.data = arrays.read<double>(values[3], {part.n, part.rows}, "data");
    part.constant = number(values[4], "constant"), part.centred = truth(values[5], "centred");
    if (!values[6].is_none())
        part.shift = arrays.read<double>(values[6], {part.block, part.points, candidates}, "shift");
    for (int64_t k = 0; k < part.n; ++k)
        if (part.members[k] < 0 || part.members[k] >= part.block)
            throw dash::ArgumentError("members must be trajectories of their block");
    return part;
}

py::tuple drive_search(const py::object& parts, const py::object& candidates, const py::object& prior, const py::object& sign,
                 const py::object& loose, const py::object& start, const py::object& drive_variance, const py::object& other_variance,
                 const py::object& noise, const py::object& inflation, const py::object& inflate,
                 const py::object& products, const py::object& level, const py::object& slope,
                 const py::object& log_weights, dash::StopToken* stop) {
    return guarded("find_drive", [&](dash::Extent& extent) {
        Arrays arrays;
        dash::DriveSearchArgs args{};
        args.candidates = length_of(candidates, "candidates"), args.starts = length_of(start, "start");
        const int64_t C = args.candidates;
        const py::list given = list_of(parts, "parts");
        std::vector<dash::SearchPart> list;
        args.genes = kAny;
        for (const py::handle& one : given) {
            list.push_back(part_of(arrays, one, args.genes, C));
            extent.samples += list.back().n * list.back().rows;
        }
        if (!extent.samples) throw dash::ArgumentError("parts must hold at least one row");
        args.parts = static_cast<int64_t>(list.size()), args.part = list.data();
        args.candidate = arrays.read<int64_t>(candidates, {C}, "candidates");
        args.prior = arrays.read<double>(prior, {C}, "prior");
        args.sign = arrays.read<int64_t>(sign, {C}, "sign");
        args.loose = arrays.read<double>(loose, {C}, "loose");
        args.start = arrays.read<int64_t>(start, {args.starts}, "start");
        args.slab.log_weights = arrays.read<double>(log_weights, {4, 4}, "log_weights");
        for (int64_t k = 0; k < 16; ++k)
            if (!std::isfinite(args.slab.log_weights[k])) throw dash::ArgumentError("log_weights must be finite");
        for (int64_t c = 0; c < C; ++c) {
            if (args.candidate[c] < 0 || args.candidate[c] >= args.genes)
                throw dash::ArgumentError("candidates must be genes of the features");
            if (!std::isfinite(args.prior[c])) throw dash::ArgumentError("prior must be finite");
            if (!(args.loose[c] >= 0 && std::isfinite(args.loose[c]))) throw dash::ArgumentError("loose must be 0 or more");
            if (args.sign[c] < -1 || args.sign[c] > 1) throw dash::ArgumentError("sign must be -1, 0 or 1");
        }
        std::vector<bool> seen(C, false);
        for (int64_t k = 0; k < args.starts; ++k) {
            if (args.start[k] < 0 || args.start[k] >= C || seen[args.start[k]])
                throw dash::ArgumentError("start must hold different places among the candidates");
            seen[args.start[k]] = true;
        }
        args.drive_variance = number(drive_variance, "drive_variance", 0, HUGE_VAL, false);
        args.other_variance = number(other_variance, "other_variance", 0, HUGE_VAL, false);
        args.noise = number(noise, "noise", 0, HUGE_VAL, false), args.inflation = number(inflation, "inflation", 1);
        args.inflate = truth(inflate, "inflate"), args.products = truth(products, "products");
        args.slab.level = number(level, "level"), args.slab.slope = number(slope, "slope");
        const int64_t most = std::max(args.starts, dash::kMostRegulators);
        py::array_t<int64_t> members(most), pair({dash::kMostPairs, int64_t(2)});
        py::array_t<double> coefficients(most), pair_coefficients(dash::kMostPairs), log_bf(C), score(C), information(C),
            expected(C);
        args.members = members.mutable_data(), args.pair = pair.mutable_data();
        args.coefficients = coefficients.mutable_data(), args.pair_coefficients = pair_coefficients.mutable_data();
        args.log_bf = log_bf.mutable_data(), args.score = score.mutable_data();
        args.information = information.mutable_data(), args.expected = expected.mutable_data();
        extent.genes = args.genes;
        dash::Interruptible watch(stop);
        args.watch = &watch;
        {
            py::gil_scoped_release release;
            dash::run(args);
        }
        const py::slice found(0, args.count, 1), pairs(0, args.pairs, 1);
        return py::make_tuple(members[found], args.offset, coefficients[found], pair[pairs], pair_coefficients[pairs],
                              args.drive_variance, args.other_variance, args.inflation, log_bf, score, information,
                              expected, args.evidence);
    });
}

const dash::Bind bind([](py::module_& module) {
    module.def("drive_search", &drive_search, "parts"_a, "candidates"_a, "prior"_a, "sign"_a, "loose"_a, "start"_a, "drive_variance"_a,
               "other_variance"_a, "noise"_a, "inflation"_a, "inflate"_a, "products"_a, "level"_a, "slope"_a,
               "log_weights"_a, "stop"_a = py::none());
});

}  // namespace
