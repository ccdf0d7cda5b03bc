// Loss and gradients of one batch of pairs, in the model's own order: what train_epoch steps with and gradients gives back.
#pragma once
#include "adjoint.hpp"
#include "prior_loss.hpp"

namespace dash {
namespace DASH_ISA {

template <class T, int L>
struct TrainTile {
    Integrator<T, L> integrator;
    Tape<T, L> tape;
    ReverseSweep<T, L> sweep;
};

// The memory in which batches of models of one shape are worked on.
template <class T>
struct Workspace {
    TrainTile<T, 4> narrow;
    TrainTile<T, 16> wide;

    int64_t bytes() const { return narrow.tape.bytes() + wide.tape.bytes(); }
};

template <class T>
class Batch {
  public:
    Model<T> model;
    Gradients<T> grads;
    double loss = 0, prior = 0;  // of the batch that was run last: of the data, of the prior
    int64_t status = kSolved;
    int64_t evaluations = 0;     // of all batches

    // widest: pairs of the largest batch that is to come.
    Batch(const Objective<T>& objective, const Params<T>& params, int64_t widest, Watch* watch, Workspace<T>& workspace);

    // The batch of the pairs index[0 .. B - 1]. When the status is not kSolved, there are no gradients.
    void run(const int64_t* index, int64_t B);

  private:
    double trusted(const int64_t* index, int64_t B);
    double so(const int64_t* index, int64_t B);
    template <int L>
    double tile(TrainTile<T, L>& lanes, const int64_t* index, int n, double values);
    bool finite();

    const Objective<T>& a_;
    SolveOptions options_;
    const int64_t G_;
    double longest_ = INFINITY;
    Buffer<int64_t> samples_;
    Workspace<T>& workspace_;
    PriorSweep<T> prior_;
};

}  // namespace DASH_ISA
}  // namespace dash
