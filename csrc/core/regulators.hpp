// Arguments of the search for the regulators of one gene (dash_hpc.ops.regulators has the meaning).
#pragma once
#include "types.hpp"

namespace dash {

// At most so many regulators; those that the search begins with do not count as admitted.
constexpr int64_t kMostRegulators = 15;

// What coefficients of true edges look like: normals of four widths around 0, mixed by the class of the edge.
struct Slab {
    double level, slope;        // typical size in a target of k regulators: exp(level - slope ln k)
    const double* log_weights;  // [4, 4]: width, class of k
};

struct RegulatorsArgs {
    int64_t n_drive, n_others, fixed, candidates, starts;
    const double *drive_data, *other_data;      // [n_drive], [n_others]
    const double *fixed_drive, *fixed_others;   // [n_drive, fixed], [n_others, fixed]: columns that are always in
    const double* fixed_precision;              // [fixed]
    const double *drive, *others;               // [n_drive, candidates], [n_others, candidates]
    const double* prior;                        // [candidates] log-odds
    const int64_t* sign;                        // [candidates] +1, -1 or 0
    const int64_t* start;                       // [starts] the members to begin with
    int64_t free_drive, free_others;            // degrees of freedom of the rows
    double drive_floor, other_floor;            // least variances of rows
    double inflation;                           // what their estimates are multiplied with
    Slab slab;
    double drive_variance, other_variance;      // in: to begin with; out
    int64_t count;                              // out: members
    int64_t* members;                           // [max(starts, kMostRegulators)] out
    double* coefficients;                       // [fixed + max(starts, kMostRegulators)] out
    double *log_bf, *score, *information, *expected;  // [candidates] out
    Watch* watch;
};

}  // namespace dash
