// Arguments of how courses move with their latents (dash_hpc.ops.course_moves has the meaning).
#pragma once
#include "types.hpp"

namespace dash {

// How one gene's course follows from latents.
struct CourseMove {
    int64_t n;               // latents; 0: none
    const int64_t* latents;  // [n]
    const double* moves;     // [points, n, trajectories]; null: the course is the one latent
};

struct CourseMovesArgs {
    int64_t trajectories, latents, points, chosen, genes;
    const double* step;        // [trajectories, latents]
    const CourseMove* course;  // [chosen]
    const double* courses;     // [trajectories, points, genes] at which features are derived; null: courses are asked for
    const int64_t* gene;       // [chosen] of those
    double* out;               // [trajectories, points, chosen]
    Watch* watch;
};

}  // namespace dash
