// gradients_many of the modules: NumPy arrays in, new arrays out.
#include "../jobs.hpp"

namespace dash {
namespace gpu {

namespace {

// One batch of a run: its gradients go to new arrays, which `out` gets.
template <class T>
HostRun<T> batch_of(Arrays& arrays, const py::dict& job, std::vector<uint8_t>& all, std::array<int64_t, 2>& ptr,
                    py::list& out) {
    Checked<T> checked = model_of<T>(arrays, job, false);
    HostRun<T> run{};
    const int64_t G = checked.model.G, m = checked.model.m;
    py::dict grads;
    auto room = [&](int tensor, const Shape& shape) {
        py::array_t<T> array(std::vector<py::ssize_t>(shape.begin(), shape.end()));
        run.grad[tensor] = array.mutable_data();
        grads[kNames[tensor]] = array;
        return static_cast<size_t>(array.size());
    };
    for (int i = 0; i < 4; ++i) {
        const size_t size = room(kMatrices[i], checked.shape[i]);
        if (!checked.model.matrix[i].mask) resize(all, std::max(all.size(), size), uint8_t(1));
    }
    for (HostMatrix<T>& A : checked.model.matrix)
        if (!A.mask) A.mask = all.data();
    room(B_SUMS, {m}), room(B_PRODS, {m}), room(V, {G});
    run.model = checked.model;
    run.objective = objective_in<T>(arrays, job, G);
    run.N = length_of(member(job, "dt"), "dt");
    const py::object index = member(job, "index");
    ptr = {0, length_of(index, "index")};
    if (ptr[1] < 1) throw ArgumentError("index must hold at least one pair");
    run.n_batches = 1, run.batch_ptr = ptr.data();
    run.batch_index = arrays.read<int64_t>(index, {ptr[1]}, "index");
    check_pairs(run.batch_index, ptr[1], run.N, "index");
    py::array_t<double> loss(1);
    run.loss = loss.mutable_data();
    *run.loss = 0;
    out.append(py::make_tuple(loss, grads));
    return run;
}

// For each job (loss of the data, of the prior, gradients by name, evaluations, status).
template <class T>
py::list gradients_as(const py::list& jobs, const Choices& choices) {
    return guarded("gradients_many", [&](Extent& extent) {
        Arrays arrays;
        std::vector<HostRun<T>> runs;
        std::vector<std::vector<uint8_t>> all(jobs.size());
        std::vector<std::array<int64_t, 2>> ptr(jobs.size());
        py::list out;
        for (const auto& job : jobs) {
            const size_t k = runs.size();
            runs.push_back(batch_of<T>(arrays, dictionary(job, "job"), all[k], ptr[k], out));
            extent = {runs.back().model.G, runs.back().model.m, int64_t(runs.size())};
        }
        alone([&] { train_pack(runs, choices); });
        for (size_t k = 0; k < runs.size(); ++k) {
            const HostRun<T>& run = runs[k];
            const py::tuple parts = out[k];
            out[k] = py::make_tuple(*run.loss, run.prior_loss, parts[1], run.evaluations, run.status);
        }
        return out;
    });
}

py::list gradients(const py::object& given, const py::object& choices) {
    const py::list jobs = list_of(given, "jobs");
    const Choices wish = choices_of(choices);
    if (jobs.empty()) return py::list();
    return first_is_float(jobs) ? gradients_as<float>(jobs, wish) : gradients_as<double>(jobs, wish);
}

const Bind bind([](py::module_& module) {
    module.def("gradients_many", &gradients, py::arg("jobs"), py::arg("choices"));
});

}  // namespace

}  // namespace gpu
}  // namespace dash
