// Arguments of the search for the regulators of one gene from courses on (dash_hpc.ops.drive_search has the meaning).
#pragma once
#include "regulators.hpp"

namespace dash {

// Products are made of so many of the strongest members.
constexpr int64_t kMultiplied = 6, kMostPairs = kMultiplied * (kMultiplied + 1) / 2;

// The gene's rows in trajectories of one block in which it was measured at the same times.
struct SearchPart {
    int64_t points, block, n, rows;  // of the grid, trajectories of the block, of this part, rows of each
    const double* features;          // [points, block, genes]
    const int64_t* members;          // [n] trajectories: places in the block
    const double* weights;           // [rows, points] of the drive on the grid; the first row is that of the drive
    const double* data;              // [n, rows]
    const double* shift;             // [block, points, candidates] what is added to features; null: nothing
    double constant;                 // the first row of a constant drive of 1
    bool centred;                    // whether other rows are centred over the trajectories
};

struct DriveSearchArgs {
    int64_t genes, parts, candidates, starts;
    const SearchPart* part;
    const int64_t* candidate;          // [candidates] genes
    const double* prior;               // [candidates] log-odds
    const int64_t* sign;               // [candidates] +1, -1 or 0
    const double* loose;               // [candidates] s.d. of a coefficient without an edge, 0: it is 0
    const int64_t* start;              // [starts] the members to begin with
    double noise;                      // least variance of rows, before the inflation
    Slab slab;
    bool inflate, products;
    double drive_variance, other_variance, inflation;  // in: to begin with; out
    int64_t count, pairs;                              // out: members, pairs of them
    int64_t* members;                                  // [max(starts, kMostRegulators)] out
    int64_t* pair;                                     // [kMostPairs, 2] out: candidates
    double offset;                                     // out
    double* coefficients;                              // [max(starts, kMostRegulators)] out
    double* pair_coefficients;                         // [kMostPairs] out
    double evidence;                                   // out: of the members together
    double *log_bf, *score, *information, *expected;   // [candidates] out
    Watch* watch;
};

}  // namespace dash
