// The launch that an epoch and the gradients of a batch share.
#pragma once
#include <vector>

#include "../queue.hpp"

namespace dash {
namespace gpu {

// An epoch of each run, in place. With `batches`, one for each run, the gradients of its only batch instead, which go
// there; then there are no moments and no weight is changed.
template <class T>
void train_pack(std::vector<TrainArgs<T>>& runs, const std::vector<GradientArgs<T>*>& batches, const Choices& choices);

}  // namespace gpu
}  // namespace dash
