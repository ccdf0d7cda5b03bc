// Arguments of the fit of a target's drive (dash_hpc.ops.drive_fit has the meaning).
#pragma once
#include "types.hpp"

namespace dash {

// Rows of trajectories that share one matrix.
struct DrivePiece {
    int64_t points, n, rows;  // of the grid, trajectories, rows of each
    const double* courses;    // [points, n, k]
    const double* weights;    // [rows, points]
    const double* data;       // [rows, n]
};

struct DriveFitArgs {
    int64_t k, pieces;
    const DrivePiece* piece;
    double level_ridge, ridge;  // prior precisions of the level, and of all other coefficients
    double least_level;         // of the mean drive that powers are taken over
    double enough;              // a step that lowers the cost by less ends the search
    int64_t steps, tries;       // at most
    double *sums, *whole;       // out: [1 + k], [2 + 2 k]
    double gained;              // out
    Watch* watch;
};

}  // namespace dash
