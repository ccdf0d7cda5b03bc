// score_pack and select_pack of the modules: NumPy arrays in, new arrays out.
#include "bindings.hpp"
#include "prune_host.hpp"

namespace dash {
namespace gpu {

namespace {

constexpr int64_t kMostEntries = int64_t(1) << 30;  // the kernels count in 32 bits

// An array of this size, or null for None.
template <class T>
const T* optional(const py::handle& object, py::ssize_t size, const char* name) {
    return object.is_none() ? nullptr : pointer<T>(object, size, name);
}

// (row pointers, columns, values) of a matrix [G, G], or None.
SparseView sparse_of(const py::handle& object, int64_t G, const char* name) {
    if (object.is_none()) return {};
    const auto parts = object.cast<py::tuple>();
    if (parts.size() != 3) throw py::value_error(std::string(name) + " must be (pointers, columns, values)");
    SparseView A{};
    A.ptr = pointer<int64_t>(parts[0], G + 1, name);
    const int64_t entries = py::len(parts[1]);
    A.index = pointer<int32_t>(parts[1], entries, name);
    A.value = pointer<double>(parts[2], entries, name);
    bool whole = A.ptr[0] == 0 && A.ptr[G] == entries;
    for (int64_t g = 0; g < G; ++g) whole = whole && A.ptr[g] <= A.ptr[g + 1];
    for (int64_t e = 0; whole && e < entries; ++e) whole = A.index[e] >= 0 && A.index[e] < G;
    if (!whole) throw py::value_error(std::string(name) + " is not a compressed matrix of all genes");
    return A;
}

HostScore score_of_job(const py::dict& job, double* omega, double* psi) {
    HostScore out{};
    ScoreView& view = out.view;
    const auto G = job["genes"].cast<int64_t>(), m = job["hidden"].cast<int64_t>();
    if (G < 1 || m < 1 || m > 32768 || G > kMostEntries / m)
        throw py::value_error("there must be genes and hidden units, at most 2^30 weights of a layer");
    view.G = static_cast<int>(G), view.m = static_cast<int>(m);
    view.prods = job["prods"].cast<bool>(), view.norm = job["norm"].cast<int>();
    view.lambda_ppi = job["lambda_ppi"].cast<double>(), view.lambda_motif = job["lambda_motif"].cast<double>();
    view.damping = job["damping"].cast<double>(), view.ridge = job["ridge"].cast<double>();
    view.W = optional<double>(job["W"], m * G, "W"), view.U = optional<double>(job["U"], G * m, "U");
    view.v = optional<double>(job["v"], G, "v"), view.omega = optional<double>(job["omega"], m * G, "omega");
    view.C = sparse_of(job["C"], G, "C"), view.P = sparse_of(job["P"], G, "P");
    const bool missing = (view.lambda_ppi > 0 && (!view.omega || !view.C.ptr)) || (view.lambda_ppi < 1 && !view.W) ||
                         (view.lambda_motif > 0 && !view.P.ptr) || (view.lambda_motif < 1 && (!view.U || !view.v));
    if (missing) throw py::value_error("an array that the scores need is missing");
    view.new_omega = omega, view.psi = psi;
    return out;
}

py::list scores(const py::list& jobs, const py::dict& choices) {
    std::vector<HostScore> branches;
    py::list out;
    for (const auto& item : jobs) {
        const auto job = item.cast<py::dict>();
        const auto G = job["genes"].cast<py::ssize_t>(), m = job["hidden"].cast<py::ssize_t>();
        py::array_t<double> omega({m, G}), psi({G, m}), numbers(kScoreNumbers);
        branches.push_back(score_of_job(job, omega.mutable_data(), psi.mutable_data()));
        out.append(py::make_tuple(omega, psi, numbers));
    }
    const Choices wish{0, choices["shared_bytes"].cast<int64_t>(), 0, 0};
    {
        py::gil_scoped_release release;
        const std::lock_guard<std::mutex> lock(one_at_a_time);
        score_pack(branches, wish);
    }
    for (size_t k = 0; k < branches.size(); ++k)
        std::copy(branches[k].numbers, branches[k].numbers + kScoreNumbers,
                  out[k].cast<py::tuple>()[2].cast<py::array_t<double>>().mutable_data());
    return out;
}

// jobs: (scores, mask, how many); the masks are changed. Returns the thresholds.
py::list select(const py::list& jobs) {
    std::vector<HostSelect> tensors;
    for (const auto& item : jobs) {
        const auto job = item.cast<py::tuple>();
        HostSelect tensor{};
        const int64_t size = job[0].cast<py::array>().size(), remove = job[2].cast<int64_t>();
        if (size > kMostEntries) throw py::value_error("a tensor has at most 2^30 scores");
        tensor.view.size = static_cast<int>(size);
        tensor.view.score = pointer<double>(job[0], size, "scores");
        tensor.view.active = reinterpret_cast<uint8_t*>(pointer<bool>(job[1], size, "mask", true));
        int64_t active = 0;
        for (int64_t i = 0; i < size; ++i) active += tensor.view.active[i];
        if (remove < 1 || remove > active) throw py::value_error("cannot remove so many");
        tensor.view.remove = static_cast<int>(remove);
        tensors.push_back(tensor);
    }
    {
        py::gil_scoped_release release;
        const std::lock_guard<std::mutex> lock(one_at_a_time);
        select_pack(tensors);
    }
    py::list out;
    for (const HostSelect& tensor : tensors) out.append(tensor.threshold);
    return out;
}

}  // namespace

void bind_pruning(py::module_& module) {
    module.def("score_pack", &scores, py::arg("jobs"), py::arg("choices"));
    module.def("select_pack", &select, py::arg("jobs"));
}

}  // namespace gpu
}  // namespace dash
