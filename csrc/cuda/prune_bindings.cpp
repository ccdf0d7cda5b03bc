// score_pack and select_pack of the modules: NumPy arrays in, new arrays out.
#include "bindings.hpp"
#include "prune_host.hpp"

namespace dash {
namespace gpu {

namespace {

using namespace arguments;

constexpr int64_t kMostEntries = int64_t(1) << 30;  // the kernels count in 32 bits

// An array of this shape, or null for None.
const double* optional(Arrays& arrays, const py::dict& job, const Shape& shape, const char* name) {
    const py::object object = member(job, name);
    return object.is_none() ? nullptr : arrays.read<double>(object, shape, name);
}

// (row pointers, columns, values) of a matrix [G, G], or None.
SparseView sparse_of(Arrays& arrays, const py::dict& job, int64_t G, const char* name) {
    const py::object object = member(job, name);
    if (object.is_none()) return {};
    const py::tuple parts = tuple_of(object, 3, name, "row pointers, columns, values");
    const Csr<int32_t> csr = csr_of<int32_t>(arrays, parts[0], parts[1], G, G, false, name);
    SparseView A{};
    A.ptr = csr.ptr, A.index = csr.index;
    A.value = arrays.read<double>(parts[2], {csr.entries}, std::string(name) + " values");
    return A;
}

// One branch of a model. Its results go to new arrays, which `out` gets with the numbers.
HostScore score_of_job(Arrays& arrays, const py::dict& job, py::list& out) {
    HostScore found{};
    ScoreView& view = found.view;
    const int64_t G = integer(member(job, "genes"), "genes", 1, kMostEntries),
                  m = integer(member(job, "hidden"), "hidden", 1, 32768);
    if (G > kMostEntries / m) throw ArgumentError("there must be at most 2^30 weights of a layer");
    view.G = static_cast<int>(G), view.m = static_cast<int>(m);
    view.prods = truth(member(job, "prods"), "prods");
    view.norm = static_cast<int>(integer(member(job, "norm"), "norm", 0, 2));
    view.lambda_ppi = number(member(job, "lambda_ppi"), "lambda_ppi", 0, 1);
    view.lambda_motif = number(member(job, "lambda_motif"), "lambda_motif", 0, 1);
    view.damping = number(member(job, "damping"), "damping", 0, kBelowOne);
    view.ridge = number(member(job, "ridge"), "ridge", 0);
    view.W = optional(arrays, job, {m, G}, "W"), view.U = optional(arrays, job, {G, m}, "U");
    view.v = optional(arrays, job, {G}, "v"), view.omega = optional(arrays, job, {m, G}, "omega");
    view.C = sparse_of(arrays, job, G, "C"), view.P = sparse_of(arrays, job, G, "P");
    const bool missing = (view.lambda_ppi > 0 && (!view.omega || !view.C.ptr)) || (view.lambda_ppi < 1 && !view.W) ||
                         (view.lambda_motif > 0 && !view.P.ptr) || (view.lambda_motif < 1 && (!view.U || !view.v));
    if (missing) throw ArgumentError("an array that the scores need is missing");
    py::array_t<double> omega({m, G}), psi({G, m}), numbers(kScoreNumbers);
    view.new_omega = omega.mutable_data(), view.psi = psi.mutable_data();
    out.append(py::make_tuple(omega, psi, numbers));
    return found;
}

py::list scores(const py::object& given, const py::object& choices) {
    return guarded("score_pack", [&](Extent& extent) {
        const py::list jobs = list_of(given, "jobs");
        const Choices wish{0, integer(member(dictionary(choices, "choices"), "shared_bytes"), "shared_bytes", 0, INT32_MAX),
                           0, 0};
        Arrays arrays;
        std::vector<HostScore> branches;
        py::list out;
        for (const auto& job : jobs) {
            branches.push_back(score_of_job(arrays, dictionary(job, "job"), out));
            extent = {branches.back().view.G, branches.back().view.m, int64_t(branches.size())};
        }
        alone([&] { score_pack(branches, wish); });
        for (size_t k = 0; k < branches.size(); ++k) {
            const py::tuple parts = out[k];
            std::copy(branches[k].numbers, branches[k].numbers + kScoreNumbers,
                      parts[2].cast<py::array_t<double>>().mutable_data());
        }
        return out;
    });
}

// jobs: (scores, mask, how many); the masks are changed. Returns the thresholds.
py::list select(const py::object& given) {
    return guarded("select_pack", [&](Extent& extent) {
        const py::list jobs = list_of(given, "jobs");
        Arrays arrays;
        std::vector<HostSelect> tensors;
        for (const auto& item : jobs) {
            const py::tuple job = tuple_of(item, 3, "job", "scores, mask, how many");
            const py::array mask = array_of(job[1], "mask");
            const Shape shape = shape_of(mask);
            const int64_t size = mask.size();
            if (size > kMostEntries) throw ArgumentError("a tensor has at most 2^30 scores");
            HostSelect tensor{};
            tensor.view.size = static_cast<int>(size);
            tensor.view.score = arrays.read<double>(job[0], shape, "scores");
            tensor.view.active = reinterpret_cast<uint8_t*>(arrays.write<bool>(mask, shape, "mask"));
            int64_t active = 0;
            for (int64_t i = 0; i < size; ++i) {
                active += tensor.view.active[i];
                if (tensor.view.active[i] && !std::isfinite(tensor.view.score[i]))
                    throw ArgumentError("score of active entry " + std::to_string(i) + " is not finite");
            }
            tensor.view.remove = static_cast<int>(integer(job[2], "how many", 1, active));
            tensors.push_back(tensor);
            extent.samples += size;
        }
        arrays.settle();
        alone([&] { select_pack(tensors); });
        py::list out;
        for (const HostSelect& tensor : tensors) out.append(tensor.threshold);
        return out;
    });
}

}  // namespace

void bind_pruning(py::module_& module) {
    module.def("score_pack", &scores, py::arg("jobs"), py::arg("choices"));
    module.def("select_pack", &select, py::arg("jobs"));
}

}  // namespace gpu
}  // namespace dash
