// course_moves: how the courses of some genes, or their features, move with a step of the latents.
#include "../../core/course_moves.hpp"

#include "../operators.hpp"
#include "../simd.hpp"

namespace dash {
namespace DASH_ISA {
namespace {

constexpr int64_t kGenes = 8;  // written side by side
constexpr int64_t kAhead = 8;  // so many lines further on courses are fetched ahead

// [points, trajectories] of one gene.
void move(const CourseMovesArgs& a, const CourseMove& course, double* steps, double* out) {
    const int64_t N = a.trajectories;
    a.watch->spend(a.points * N * (course.n + 2));
    for (int64_t k = 0; k < course.n; ++k)
        for (int64_t i = 0; i < N; ++i) steps[k * N + i] = a.step[i * a.latents + course.latents[k]];
    for (int64_t u = 0; u < a.points; ++u) {
        double* row = out + u * N;
        for (int64_t i = 0; i < N; ++i) row[i] = course.n && !course.moves ? steps[i] : 0.0;
        for (int64_t k = 0; course.moves && k < course.n; ++k) {
            const double *by = course.moves + (u * course.n + k) * N, *step = steps + k * N;
            for (int64_t i = 0; i < N; ++i) row[i] += by[i] * step[i];
        }
    }
}

}  // namespace

static void course_moves(CourseMovesArgs& a) {
    const int64_t N = a.trajectories, cells = a.points * N;
    int64_t most = 1;
    for (int64_t c = 0; c < a.chosen; ++c) most = a.course[c].n > most ? a.course[c].n : most;
    Buffer<double> step_store, tile_store;
    double *steps = step_store.reserve(most * N), *tile = tile_store.reserve(kGenes * cells);
    for (int64_t first = 0; first < a.chosen; first += kGenes) {
        const int64_t width = a.chosen - first < kGenes ? a.chosen - first : kGenes;
        for (int64_t c = 0; c < width; ++c) move(a, a.course[first + c], steps, tile + c * cells);
        for (int64_t i = 0; i < N; ++i)
            for (int64_t u = 0; u < a.points; ++u) {
                double* out = a.out + (i * a.points + u) * a.chosen + first;
                for (int64_t c = 0; c < width; ++c) out[c] = tile[c * cells + u * N + i];
                if (!a.courses) continue;
                const double* course = a.courses + (i * a.points + u) * a.genes;
                if (const int64_t ahead = kAhead * a.genes; i * a.points + u + kAhead < cells)
                    for (int64_t c = 0; c < width; ++c) __builtin_prefetch(course + ahead + a.gene[first + c]);
                for (int64_t c = 0; c < width; ++c) {
                    const double root = 1 / (1 + std::fabs(course[a.gene[first + c]] - 0.5));
                    out[c] *= root * root;
                }
            }
    }
}

DASH_OPERATOR_OF(CourseMovesArgs, course_moves)

}  // namespace DASH_ISA
}  // namespace dash
