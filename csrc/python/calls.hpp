// One call of each operator of a model, for the bindings of every module: the arguments from Python's objects, checked,
// and new arrays for what comes out.
#pragma once
#include "model.hpp"

namespace dash {
namespace arguments {

inline py::ssize_t entries_of(const Shape& shape) {
    py::ssize_t n = 1;
    for (const int64_t length : shape) n *= length;
    return n;
}

template <class T>
py::array_t<T> new_array(const Shape& shape) {
    return py::array_t<T>(std::vector<py::ssize_t>(shape.begin(), shape.end()));
}

// New arrays for the gradients of a model, by name. A matrix without a mask gets its every entry's, also of those that
// are 0.
template <class T>
class Gradients {
  public:
    py::dict by_name;

    void make(Arrays& arrays, const Given& given, Params<T>& params, T** grad) {
        for (int i = 0; i < N_TENSORS; ++i) {
            const py::array_t<T> out = new_array<T>(form_of(arrays, given, i).shape);
            if (prunable(i) && !params.mask[i]) resize(all_, std::max<size_t>(all_.size(), out.size()), uint8_t(1));
            grad[i] = const_cast<T*>(out.data());
            by_name[kNames[i]] = out;
        }
        for (int i = 0; i < N_TENSORS; ++i)
            if (prunable(i) && !params.mask[i]) params.mask[i] = all_.data();
    }

  private:
    std::vector<uint8_t> all_;
};

// Accepted step sizes as they come.
class Steps : public StepSink {
  public:
    explicit Steps(int64_t B) : sizes_(B) {}
    void push(int64_t sample, double size) override {
        std::vector<double>& row = sizes_[sample];
        if (row.size() == row.capacity()) make_room(row);
        row.push_back(size);
    }
    py::array_t<double> table() const {
        size_t width = 0;
        for (const auto& row : sizes_) width = std::max(width, row.size());
        py::array_t<double> out({sizes_.size(), width});
        double* p = out.mutable_data();
        std::fill(p, p + out.size(), 0.0);
        for (size_t b = 0; b < sizes_.size(); ++b) std::copy(sizes_[b].begin(), sizes_[b].end(), p + b * width);
        return out;
    }

  private:
    static void make_room(std::vector<double>& row) {
        const size_t room = std::max<size_t>(16, 2 * row.capacity());
        try {
            row.reserve(room);
        } catch (const std::bad_alloc&) {
            throw OutOfMemory{static_cast<int64_t>(room * sizeof(double))};
        }
    }

    std::vector<std::vector<double>> sizes_;
};

// Not to be moved: the arguments point into it.
template <class T>
class SolveCall {
  public:
    SolveArgs<T> args{};

    SolveCall(Arrays& arrays, const Given& given, const py::object& y0, const py::object& dt,
              const SolveOptions& options) {
        const int64_t B = length_of(dt, "dt"), G = given.sizes.G;
        args.params = params_of<T>(arrays, given);
        args.options = options, args.B = B;
        args.y0 = arrays.read<T>(y0, {B, G}, "y0");
        args.dt = arrays.read<double>(dt, {B}, "dt");
        check_intervals(args.dt, B);
        y1_ = new_array<T>({B, G}), sizes_ = Steps(B);
        for (py::array_t<int64_t>* counts : {&status_, &steps_, &rejected_, &evaluations_})
            *counts = new_array<int64_t>({B});
        args.y1 = y1_.mutable_data(), args.status = status_.mutable_data(), args.steps = steps_.mutable_data();
        args.rejected = rejected_.mutable_data(), args.evaluations = evaluations_.mutable_data();
        args.sink = &sizes_;
    }
    SolveCall(const SolveCall&) = delete;
    SolveCall& operator=(const SolveCall&) = delete;

    py::tuple results() const {
        return py::make_tuple(y1_, status_, steps_, rejected_, evaluations_, sizes_.table());
    }

  private:
    py::array_t<T> y1_;
    py::array_t<int64_t> status_, steps_, rejected_, evaluations_;
    Steps sizes_{0};
};

template <class T>
class AdjointCall {
  public:
    AdjointArgs<T> args{};

    AdjointCall(Arrays& arrays, const Given& given, const py::object& y0, const py::object& sizes,
                const py::object& grad, int method) {
        args.params = params_of<T>(arrays, given);
        const int64_t G = given.sizes.G, B = length_of(sizes, "step_sizes", 0, 2);
        args.method = method, args.B = B, args.n = length_of(sizes, "step_sizes", 1, 2);
        args.y0 = arrays.read<T>(y0, {B, G}, "y0");
        args.sizes = arrays.read<double>(sizes, {B, args.n}, "step_sizes");
        args.grad_y1 = arrays.read<T>(grad, {B, G}, "grad_y1");
        check_step_sizes(args.sizes, B, args.n);
        grad_y0_ = new_array<T>({B, G}), longest_ = new_array<double>({B});
        args.grad_y0 = grad_y0_.mutable_data(), args.longest = longest_.mutable_data();
        gradients_.make(arrays, given, args.params, args.grad);
    }
    AdjointCall(const AdjointCall&) = delete;
    AdjointCall& operator=(const AdjointCall&) = delete;

    py::tuple results() const { return py::make_tuple(grad_y0_, gradients_.by_name, longest_); }

  private:
    Gradients<T> gradients_;
    py::array_t<T> grad_y0_;
    py::array_t<double> longest_;
};

template <class T>
class GradientCall {
  public:
    GradientArgs<T> args{};

    GradientCall(Arrays& arrays, const Given& given, const GivenObjective& objective, const py::object& index) {
        args.params = params_of<T>(arrays, given);
        args.objective = objective_of<T>(arrays, objective, given.sizes.G);
        args.B = length_of(index, "index");
        if (args.B < 1) throw ArgumentError("index must hold at least one pair");
        args.index = arrays.read<int64_t>(index, {args.B}, "index");
        check_pairs(args.index, args.B, args.objective.N, "index");
        gradients_.make(arrays, given, args.params, args.grad);
    }
    GradientCall(const GradientCall&) = delete;
    GradientCall& operator=(const GradientCall&) = delete;

    py::tuple results() const {
        return py::make_tuple(args.loss, args.prior, gradients_.by_name, args.evaluations, args.status);
    }

  private:
    Gradients<T> gradients_;
};

// An epoch as the caller gives it.
struct GivenEpoch {
    py::object moment1, moment2, step, batch_ptr, batch_index, losses, lr, beta1, beta2, eps;
    GivenObjective objective;
};

template <class T>
TrainArgs<T> train_args(Arrays& arrays, const Given& given, const GivenEpoch& epoch) {
    TrainArgs<T> args{};
    const py::dict moment1 = dictionary(epoch.moment1, "moment1"), moment2 = dictionary(epoch.moment2, "moment2");
    args.params.G = given.sizes.G, args.params.m = given.sizes.m;
    args.step = integer(epoch.step, "adam_step", 0, int64_t(1) << 53);
    const auto lr = numbers<N_TENSORS>(epoch.lr, "lr", 0);
    for (int i = 0; i < N_TENSORS; ++i) {
        const std::string name = kNames[i];
        const Form form = form_of(arrays, given, i);
        args.params.structure[i] = form.structure;
        args.params.tensor[i] = args.weight[i] = arrays.write<T>(form.values, form.shape, name);
        args.moment1[i] = arrays.write<T>(member(moment1, name), form.shape, "moment1 of " + name);
        args.moment2[i] = arrays.write<T>(member(moment2, name), form.shape, "moment2 of " + name);
        args.params.mask[i] = mask_of(arrays, given, i, form.shape);
        args.lr[i] = lr[i];
        if (prunable(i) && !args.params.mask[i]) throw ArgumentError("mask of " + name + " is missing");
    }
    args.objective = objective_of<T>(arrays, epoch.objective, given.sizes.G);
    const Batches batches = batches_of(arrays, epoch.batch_ptr, epoch.batch_index, args.objective.N);
    args.n_batches = batches.count, args.batch_ptr = batches.ptr, args.batch_index = batches.index;
    args.beta1 = number(epoch.beta1, "beta1", 0, kBelowOne), args.beta2 = number(epoch.beta2, "beta2", 0, kBelowOne);
    args.eps = number(epoch.eps, "eps", 0, HUGE_VAL, false);
    args.loss = arrays.write<double>(epoch.losses, {args.n_batches}, "losses");
    return args;
}

}  // namespace arguments
}  // namespace dash
