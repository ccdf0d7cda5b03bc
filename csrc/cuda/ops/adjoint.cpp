// solve_backward of the modules: the gradient of the end states of one model. View, launch, results.
#include "adjoint.hpp"

#include "../tasks.hpp"
#include "../queue.hpp"

namespace dash {
namespace gpu {

namespace {

template <class T>
class Backward {
  public:
    Backward(AdjointArgs<T>& args, const Choices& choices) : args_(args), choices_(choices), pattern_(args.params, 0) {}

    void run() {
        stage_.fill([this] { put(); });
        stage_.state.send(), stage_.fixed.send();
        const int64_t shared = choices_.shared_bytes ? choices_.shared_bytes : shared_limit(kernel_of<AdjointView<T>>());
        const Need need =
            need_of(view_.args.params, view_.form, view_.method, kForTraining, args_.n, shared, false, 0);
        run_tasks(kernel_of<AdjointView<T>>(), nullptr, device_view_, {0}, {need}, args_.n);
        stage_.state.fetch();
        stage_.copy_back(view_.args.grad_y0, args_.B * args_.params.G, args_.grad_y0);
        stage_.copy_back(view_.args.longest, args_.B, args_.longest);
        for (int i = 0; i < N_TENSORS; ++i)
            take_values(pattern_.tensor[i], stage_.state.on_host(view_.args.grad[i]), args_.grad[i]);
    }

  private:
    void put() {
        Arena &state = stage_.state, &fixed = stage_.fixed;
        const int64_t entries = args_.B * args_.params.G;
        T* host;
        double* longest;
        view_ = {args_, {}, Method<T>::of(args_.method)};
        AdjointArgs<T>& args = view_.args;
        args.params = put_params(args_.params, pattern_, state, fixed, view_.form);
        args.y0 = fixed.put(args_.y0, entries);
        args.sizes = fixed.put(args_.sizes, args_.B * args_.n);
        args.grad_y1 = fixed.put(args_.grad_y1, entries);
        args.grad_y0 = state.room(entries, &host);
        args.longest = state.room(args_.B, &longest);
        for (int i = 0; i < N_TENSORS; ++i) args.grad[i] = state.room(pattern_.tensor[i].entries(), &host);
        device_view_ = fixed.put(&view_, 1);
    }

    AdjointArgs<T>& args_;
    Choices choices_;
    ModelPattern pattern_;
    AdjointView<T> view_{};
    AdjointView<T>* device_view_ = nullptr;
    Stage stage_;
};

template <class T>
py::tuple backward_as(const Given& given, const py::object& y0, const py::object& sizes, const py::object& grad,
                      int method, const Choices& choices) {
    return guarded("solve_backward", [&](Extent& extent) {
        Arrays arrays;
        extent = {given.sizes.G, given.sizes.m, length_of(sizes, "step_sizes", 0, 2)};
        AdjointCall<T> call(arrays, given, y0, sizes, grad, method);
        alone([&] { Backward<T>(call.args, choices).run(); });
        return call.results();
    });
}

py::tuple solve_backward(const py::object& weights, const py::object& y0, const py::object& sizes,
                         const py::object& grad, const py::object& method, const py::object& choices) {
    const int number = method_number(method);
    const Given given = model_in(py::dict(py::arg("weights") = weights, py::arg("masks") = py::dict()));
    const Choices wish = choices_of(choices);
    return given.single ? backward_as<float>(given, y0, sizes, grad, number, wish)
                        : backward_as<double>(given, y0, sizes, grad, number, wish);
}

const Bind bind([](py::module_& module) {
    module.def("solve_backward", &solve_backward, py::arg("weights"), py::arg("y0"), py::arg("step_sizes"),
               py::arg("grad"), py::arg("method"), py::arg("choices"));
});

}  // namespace

}  // namespace gpu
}  // namespace dash
