// What the bindings hand to the packs of a pruning event: the caller's arrays.
#pragma once
#include <vector>

#include "host.hpp"
#include "scores.hpp"
#include "select.hpp"

namespace dash {
namespace gpu {

// A branch of a run: the view with the caller's pointers, and its numbers.
struct HostScore {
    ScoreView view;
    double numbers[kScoreNumbers];  // out
};

struct HostSelect {
    SelectView view;
    double threshold;  // out
};

void score_pack(std::vector<HostScore>& jobs, const Choices& choices);
void select_pack(std::vector<HostSelect>& jobs);

}  // namespace gpu
}  // namespace dash
