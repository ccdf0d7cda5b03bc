// solve_backward of the modules: the gradient of the end states of one model. Arrays, views, launch, results.
#include "../jobs.hpp"
#include "../pack.hpp"

namespace dash {
namespace gpu {

namespace {

template <class T>
class Backward {
  public:
    Backward(HostBackward<T>& job, const Choices& choices) : job_(job), choices_(choices), pattern_(job.model, 0) {}

    void run() {
        stage_.fill([this] { put(); });
        stage_.state.send(), stage_.fixed.send();
        const int64_t shared = choices_.shared_bytes ? choices_.shared_bytes : shared_limit(kernel_of<AdjointView<T>>());
        const Need need = need_of(view_.model, view_.method, kForTraining, job_.n, shared, false, 0);
        run_jobs(kernel_of<AdjointView<T>>(), nullptr, device_view_, {0}, {need}, job_.n);
        stage_.state.fetch();
        const int64_t G = job_.model.G, m = job_.model.m;
        stage_.copy_back(view_.grad_y0, job_.B * G, job_.grad_y0);
        stage_.copy_back(view_.longest, job_.B, job_.longest);
        for (int k = 0; k < 2; ++k) {
            stage_.copy_back(view_.grad.W[k], pattern_.matrix[k].values, job_.grad[k ? W_PRODS : W_SUMS]);
            stage_.copy_back(view_.grad.U[k], pattern_.matrix[2 + k].values, job_.grad[k ? U_PRODS : U_SUMS]);
            stage_.copy_back(view_.grad.b[k], m, job_.grad[k ? B_PRODS : B_SUMS]);
        }
        stage_.copy_back(view_.grad.v, G, job_.grad[V]);
    }

  private:
    void put() {
        Arena &state = stage_.state, &fixed = stage_.fixed;
        const int64_t G = job_.model.G, m = job_.model.m;
        T* host;
        view_ = {};
        view_.model = put_model(job_.model, pattern_, state, fixed);
        view_.method = Method<T>::of(job_.method);
        view_.B = job_.B, view_.n = job_.n;
        view_.y0 = fixed.put(job_.y0, job_.B * G);
        view_.sizes = fixed.put(job_.sizes, job_.B * job_.n);
        view_.grad_y1 = fixed.put(job_.grad_y1, job_.B * G);
        view_.grad_y0 = state.room(job_.B * G, &host);
        double* longest;
        view_.longest = state.room(job_.B, &longest);
        for (int k = 0; k < 2; ++k) {
            view_.grad.W[k] = state.room(pattern_.matrix[k].values, &host);
            view_.grad.U[k] = state.room(pattern_.matrix[2 + k].values, &host);
            view_.grad.b[k] = state.room(m, &host);
        }
        view_.grad.v = state.room(G, &host);
        device_view_ = fixed.put(&view_, 1);
    }

    HostBackward<T>& job_;
    Choices choices_;
    ModelPattern<T> pattern_;
    AdjointView<T> view_{};
    AdjointView<T>* device_view_ = nullptr;
    Stage stage_;
};

template <class T>
py::tuple backward_as(const py::dict& weights, const py::object& y0, const py::object& sizes, const py::object& grad,
                      int method, const Choices& choices) {
    return guarded("solve_backward", [&](Extent& extent) {
        Arrays arrays;
        const Checked<T> checked = model_of<T>(arrays, py::dict(py::arg("weights") = weights, py::arg("masks") = py::dict()), false);
        HostBackward<T> job{};
        job.model = checked.model, job.method = method;
        job.B = length_of(sizes, "step_sizes", 0, 2), job.n = length_of(sizes, "step_sizes", 1, 2);
        const int64_t G = job.model.G, m = job.model.m;
        extent = {G, m, job.B};
        job.y0 = arrays.read<T>(y0, {job.B, G}, "y0");
        job.sizes = arrays.read<double>(sizes, {job.B, job.n}, "step_sizes");
        job.grad_y1 = arrays.read<T>(grad, {job.B, G}, "grad");
        check_step_sizes(job.sizes, job.B, job.n);
        py::array_t<T> grad_y0({job.B, G});
        py::array_t<double> longest(job.B);
        job.grad_y0 = grad_y0.mutable_data(), job.longest = longest.mutable_data();
        py::dict grads;
        std::vector<uint8_t> all;  // every entry gets its gradient, also those that are 0
        for (int i = 0; i < 4; ++i) {
            py::array_t<T> out(std::vector<py::ssize_t>(checked.shape[i].begin(), checked.shape[i].end()));
            resize(all, std::max<size_t>(all.size(), out.size()), uint8_t(1));
            job.grad[kMatrices[i]] = out.mutable_data();
            grads[kNames[kMatrices[i]]] = out;
        }
        for (HostMatrix<T>& A : job.model.matrix) A.mask = all.data();
        for (const int tensor : {B_SUMS, B_PRODS, V}) {
            py::array_t<T> out(tensor == V ? G : m);
            job.grad[tensor] = out.mutable_data();
            grads[kNames[tensor]] = out;
        }
        alone([&] { Backward<T>(job, choices).run(); });
        return py::make_tuple(grad_y0, grads, longest);
    });
}

py::tuple solve_backward(const py::object& given, const py::object& y0, const py::object& sizes, const py::object& grad,
                         const py::object& method, const py::object& choices) {
    const int number = method_number(method);
    const py::dict weights = dictionary(given, "weights");
    const Choices wish = choices_of(choices);
    return is_float(weights) ? backward_as<float>(weights, y0, sizes, grad, number, wish)
                             : backward_as<double>(weights, y0, sizes, grad, number, wish);
}

const Bind bind([](py::module_& module) {
    module.def("solve_backward", &solve_backward, py::arg("weights"), py::arg("y0"), py::arg("step_sizes"),
               py::arg("grad"), py::arg("method"), py::arg("choices"));
});

}  // namespace

}  // namespace gpu
}  // namespace dash
