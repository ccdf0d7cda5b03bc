// score_pack of the modules: NumPy arrays in, new arrays out.
#include "scores.hpp"

#include "../bindings.hpp"
#include "../launches.hpp"

namespace dash {
namespace gpu {

namespace {

using namespace arguments;

// A branch of a run: the view with the caller's pointers, and its numbers.
struct HostScore {
    ScoreView view;
    double numbers[kScoreNumbers];  // out
};

void score_pack(std::vector<HostScore>& jobs, const Choices& choices) {
    const int64_t shared = choices.shared_bytes ? choices.shared_bytes : shared_limit(kernel_of<ScoreView>());
    in_launches<ScoreView>(
        jobs, false,
        [](HostScore& job, Arena& state, Arena& fixed, std::map<const void*, const void*>& known) {
            ScoreView view = job.view;
            const int64_t G = view.G, entries = G * view.m;
            double* host;
            view.new_omega = state.room(entries, &host), view.psi = state.room(entries, &host);
            view.numbers = state.room(kScoreNumbers, &host);
            for (const double** array : {&view.W, &view.U, &view.omega})
                if (*array) *array = fixed.put(*array, entries);
            if (view.v) view.v = fixed.put(view.v, G);
            for (SparseView* A : {&view.C, &view.P}) {
                if (!A->ptr) continue;
                const int64_t nnz = A->ptr[G];
                A->ptr = fixed.put_once(A->ptr, G + 1, known);
                A->index = fixed.put_once(A->index, nnz, known);
                A->value = fixed.put_once(A->value, nnz, known);
            }
            return view;
        },
        [](HostScore& job, const ScoreView& view, Arena& state) {
            const int64_t bytes = int64_t(view.G) * view.m * 8;
            std::memcpy(job.view.new_omega, state.on_host(view.new_omega), bytes);
            std::memcpy(job.view.psi, state.on_host(view.psi), bytes);
            std::memcpy(job.numbers, state.on_host(view.numbers), sizeof(job.numbers));
        },
        [shared](const HostScore& job) {
            constexpr int64_t kOwn = 4096;  // each block's own; two stand side by side
            ScoreContext context;
            const Needs found =
                place_scores(context, job.view, nullptr, std::max<int64_t>(shared / 2 - kOwn, 0), nullptr);
            return Need{found.near_bytes, found.far_bytes, int64_t(job.view.m) * job.view.m * job.view.G,
                        Worker::kSmall};
        });
}

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

const Bind bind([](py::module_& module) { module.def("score_pack", &scores, py::arg("jobs"), py::arg("choices")); });

}  // namespace

}  // namespace gpu
}  // namespace dash
