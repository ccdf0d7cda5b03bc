// drive_fit: a target's drive fitted to its rows on its regulators: a sum, and a sum with a product by Levenberg-Marquardt.
#include "../../core/drive_fit.hpp"

#include "../lu.hpp"
#include "../operators.hpp"

namespace dash {
namespace DASH_ISA {
namespace {

// One order of summing whatever the level: eight partial sums, added from the first to the last.
double dot(const double* a, const double* b, int64_t n) {
    double part[8] = {}, sum = 0;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; ++l) part[l] += a[i + l] * b[i + l];
    for (; i < n; ++i) part[i & 7] += a[i] * b[i];
    for (int l = 0; l < 8; ++l) sum += part[l];
    return sum;
}

// The best drive with given powers of the product.
struct Point {
    double cost = HUGE_VAL;
    double *powers, *linear;     // [k], [2 + k]
    double *grid, *unit, *rest;  // the product on the grid (pieces behind each other), its rows, what is left of the data
    double* gram;                // [2 + k, 2 + k]
    Buffer<double> store;
};

class Fit {
  public:
    explicit Fit(DriveFitArgs& args) : a_(args), k_(args.k), p_(2 + args.k) {
        for (int64_t q = 0; q < a_.pieces; ++q) {
            const DrivePiece& piece = a_.piece[q];
            R_ += piece.rows * piece.n, cells_ += piece.points * piece.n;
        }
        data_ = data_store_.reserve(R_);
        columns_ = columns_store_.reserve((1 + k_) * R_);
        logs_ = logs_store_.reserve(k_ * cells_);
        moves_ = moves_store_.reserve(k_ * R_);
        scratch_ = scratch_store_.reserve(cells_);
        cross_ = cross_store_.reserve(p_ * k_), solved_ = solved_store_.reserve(p_ * k_);
        curve_ = curve_store_.reserve(k_ * k_), damped_ = damped_store_.reserve(k_ * k_);
        slope_ = slope_store_.reserve(k_), line_ = step_store_.reserve(p_ + k_);
        whole_ = whole_store_.reserve((p_ + k_) * (p_ + k_));
        linear_gram_ = gram_store_.reserve((1 + k_) * (1 + k_)), moments_ = moments_store_.reserve(1 + k_);
        for (Point& point : points_) {
            double* at = point.store.reserve(k_ + p_ + cells_ + 2 * R_ + p_ * p_);
            point.powers = at, point.linear = at += k_, point.grid = at += p_, point.unit = at += cells_;
            point.rest = at += R_, point.gram = at += R_;
        }
        read();
    }

    void run() {
        const int64_t n = 1 + k_;
        for (int64_t i = 0; i < n; ++i) {
            for (int64_t j = 0; j <= i; ++j)
                linear_gram_[i * n + j] = linear_gram_[j * n + i] = dot(column(i), column(j), R_);
            moments_[i] = dot(column(i), data_, R_);
        }
        double* gram = whole_;
        for (int64_t i = 0; i < n * n; ++i) gram[i] = linear_gram_[i];
        for (int64_t i = 0; i < n; ++i) gram[i * n + i] += ridge(i), a_.sums[i] = moments_[i];
        lu_.factor(gram, n);
        lu_.solve(a_.sums);
        double cost = 0;
        for (int64_t i = 0; i < n; ++i) cost += ridge(i) * a_.sums[i] * a_.sums[i];
        double* rest = points_[0].rest;
        leave(a_.sums, n, nullptr, rest);
        const double evidence = laplace(cost + dot(rest, rest, R_), n, lu_.log_determinant());
        a_.gained = NAN;
        for (int64_t i = 0; i < p_ + k_; ++i) a_.whole[i] = 0;
        if (k_ == 0) return;
        const double mean = moments_[0] / (linear_gram_[0] + ridge(0));
        const double both = 1 / (mean > a_.least_level ? mean : a_.least_level);
        const double either = -1 / (1 - mean > a_.least_level ? 1 - mean : a_.least_level);
        double best = -HUGE_VAL;
        const double factors[] = {both, either};
        for (const double by : factors) {
            const double found = search(by);
            if (!(found > best)) continue;
            best = found;
            for (int64_t i = 0; i < p_; ++i) a_.whole[i] = here_->linear[i];
            for (int64_t i = 0; i < k_; ++i) a_.whole[p_ + i] = here_->powers[i];
        }
        a_.gained = best - evidence;
    }

  private:
    double* column(int64_t i) { return columns_ + i * R_; }
    double ridge(int64_t i) const { return i ? a_.ridge : a_.level_ridge; }
    double laplace(double cost, int64_t n, double log_determinant) const {
        const double prior = std::log(a_.level_ridge) + static_cast<double>(n - 1) * std::log(a_.ridge);
        return -0.5 * cost + 0.5 * prior - 0.5 * log_determinant;
    }

    // Features' rows and logarithms of all regulators, side by side over trajectories.
    void read() {
        int64_t row = 0, cell = 0;
        for (int64_t q = 0; q < a_.pieces; ++q) {
            const DrivePiece& piece = a_.piece[q];
            const int64_t n = piece.n, cells = piece.points * n;
            a_.watch->spend(8 * cells * k_ + piece.rows * cells * k_);
            for (int64_t r = 0; r < piece.rows * n; ++r) data_[row + r] = piece.data[r];
            for (int64_t r = 0; r < piece.rows; ++r) {
                double one = 0;
                for (int64_t u = 0; u < piece.points; ++u) one += piece.weights[r * piece.points + u];
                for (int64_t t = 0; t < n; ++t) column(0)[row + r * n + t] = one;
            }
            for (int64_t i = 0; i < k_; ++i) {
                double* log = logs_ + i * cells_ + cell;
                for (int64_t c = 0; c < cells; ++c) {
                    const double u = piece.courses[c * k_ + i] - 0.5;
                    scratch_[c] = u / (1 + std::fabs(u));
                    log[c] = std::log1p(scratch_[c]);
                }
                through(piece, scratch_, column(1 + i) + row);
            }
            row += piece.rows * n, cell += cells;
        }
    }

    // Rows [rows, n] of a function [points, n] on the grid.
    static void through(const DrivePiece& piece, const double* grid, double* out) {
        for (int64_t r = 0; r < piece.rows; ++r) {
            double* row = out + r * piece.n;
            std::memset(row, 0, piece.n * sizeof(double));
            for (int64_t u = 0; u < piece.points; ++u) {
                const double weight = piece.weights[r * piece.points + u], *at = grid + u * piece.n;
                for (int64_t t = 0; t < piece.n; ++t) row[t] += weight * at[t];
            }
        }
    }

    // What `n` columns, and the product's unit beside them, leave of the data.
    void leave(const double* coefficients, int64_t n, const double* unit, double* rest) {
        std::memcpy(rest, data_, R_ * sizeof(double));
        for (int64_t i = 0; i < n + (unit ? 1 : 0); ++i) {
            const double b = coefficients[i], *x = i < n ? column(i) : unit;
            for (int64_t r = 0; r < R_; ++r) rest[r] -= b * x[r];
        }
    }

    // The point at its powers; infinite cost where the product overflows.
    void find(Point& point) {
        a_.watch->spend(cells_ * (k_ + 20) + R_ * (2 * k_ + 6));
        point.cost = HUGE_VAL;
        std::memset(point.grid, 0, cells_ * sizeof(double));
        for (int64_t i = 0; i < k_; ++i) {
            const double w = point.powers[i], *log = logs_ + i * cells_;
            for (int64_t c = 0; c < cells_; ++c) point.grid[c] += w * log[c];
        }
        for (int64_t c = 0; c < cells_; ++c) point.grid[c] = std::exp(point.grid[c]);
        int64_t row = 0, cell = 0;
        for (int64_t q = 0; q < a_.pieces; ++q) {
            const DrivePiece& piece = a_.piece[q];
            through(piece, point.grid + cell, point.unit + row);
            row += piece.rows * piece.n, cell += piece.points * piece.n;
        }
        const int64_t n = 1 + k_;
        double* gram = point.gram;
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < n; ++j) gram[i * p_ + j] = linear_gram_[i * n + j];
        for (int64_t i = 0; i < n; ++i) gram[i * p_ + n] = gram[n * p_ + i] = dot(column(i), point.unit, R_);
        gram[n * p_ + n] = dot(point.unit, point.unit, R_);
        for (int64_t i = 0; i < p_; ++i)
            if (!std::isfinite(gram[i * p_ + n])) return;
        for (int64_t i = 0; i < p_; ++i) gram[i * p_ + i] += ridge(i);
        for (int64_t i = 0; i < n; ++i) point.linear[i] = moments_[i];
        point.linear[n] = dot(point.unit, data_, R_);
        lu_.factor(gram, p_);
        lu_.solve(point.linear);
        leave(point.linear, n, point.unit, point.rest);
        double cost = dot(point.rest, point.rest, R_);
        for (int64_t i = 0; i < p_; ++i) cost += ridge(i) * point.linear[i] * point.linear[i];
        for (int64_t i = 0; i < k_; ++i) cost += a_.ridge * point.powers[i] * point.powers[i];
        point.cost = cost < HUGE_VAL ? cost : HUGE_VAL;  // not a number either
    }

    // Derivatives of the rows in the powers, and what follows: curvature and slope of the cost, the linear ones following.
    void derive(const Point& point) {
        a_.watch->spend(k_ * (5 * cells_ + R_ * (p_ + k_)));
        const double gain = point.linear[1 + k_];
        for (int64_t i = 0; i < k_; ++i) {
            int64_t row = 0, cell = 0;
            for (int64_t c = 0; c < cells_; ++c) scratch_[c] = gain * point.grid[c] * logs_[i * cells_ + c];
            for (int64_t q = 0; q < a_.pieces; ++q) {
                const DrivePiece& piece = a_.piece[q];
                through(piece, scratch_ + cell, moves_ + i * R_ + row);
                row += piece.rows * piece.n, cell += piece.points * piece.n;
            }
        }
        for (int64_t i = 0; i < k_; ++i) {
            const double* move = moves_ + i * R_;
            for (int64_t j = 0; j < p_; ++j) cross_[i * p_ + j] = dot(j <= k_ ? column(j) : point.unit, move, R_);
            for (int64_t j = 0; j <= i; ++j)
                curve_[i * k_ + j] = curve_[j * k_ + i] = dot(move, moves_ + j * R_, R_);
            slope_[i] = dot(move, point.rest, R_) - a_.ridge * point.powers[i];
        }
    }

    // From powers that are the slopes of the sums times a factor; the log of the optimum's evidence. The optimum: here_.
    double search(double by) {
        here_ = &points_[0];
        Point* there = &points_[1];
        for (int64_t i = 0; i < k_; ++i) here_->powers[i] = by * a_.sums[1 + i];
        find(*here_);
        if (here_->cost == HUGE_VAL) return -HUGE_VAL;
        double damping = 1e-2;
        for (int64_t step = 0; step < a_.steps; ++step) {
            derive(*here_);
            lu_.factor(here_->gram, p_);
            std::memcpy(solved_, cross_, k_ * p_ * sizeof(double));
            for (int64_t i = 0; i < k_; ++i) lu_.solve(solved_ + i * p_);
            for (int64_t i = 0; i < k_; ++i) {
                for (int64_t j = 0; j < k_; ++j)
                    for (int64_t l = 0; l < p_; ++l) curve_[i * k_ + j] -= cross_[i * p_ + l] * solved_[j * p_ + l];
                curve_[i * k_ + i] += a_.ridge;
            }
            bool better = false;
            for (int64_t turn = 0; turn < a_.tries && !better; ++turn) {
                std::memcpy(damped_, curve_, k_ * k_ * sizeof(double));
                for (int64_t i = 0; i < k_; ++i) {
                    damped_[i * k_ + i] += damping * (curve_[i * k_ + i] + 1e-3);
                    line_[i] = slope_[i];
                }
                lu_.factor(damped_, k_);
                lu_.solve(line_);
                for (int64_t i = 0; i < k_; ++i) there->powers[i] = here_->powers[i] + line_[i];
                find(*there);
                better = there->cost < here_->cost;
                if (!better) damping *= 5.0;
            }
            if (!better) break;
            const double gain = here_->cost - there->cost;
            Point* before = here_;
            here_ = there, there = before;
            damping = damping / 5.0 > 1e-6 ? damping / 5.0 : 1e-6;
            if (gain < a_.enough) break;
        }
        derive(*here_);
        const int64_t n = p_ + k_;
        for (int64_t i = 0; i < p_; ++i)
            for (int64_t j = 0; j < p_; ++j) whole_[i * n + j] = here_->gram[i * p_ + j];
        for (int64_t i = 0; i < k_; ++i) {
            for (int64_t j = 0; j < p_; ++j) whole_[(p_ + i) * n + j] = whole_[j * n + p_ + i] = cross_[i * p_ + j];
            for (int64_t j = 0; j < k_; ++j) whole_[(p_ + i) * n + p_ + j] = curve_[i * k_ + j];
            whole_[(p_ + i) * n + p_ + i] += a_.ridge;
        }
        lu_.factor(whole_, n);
        return laplace(here_->cost, n, lu_.log_determinant());
    }

    DriveFitArgs& a_;
    int64_t k_, p_, R_ = 0, cells_ = 0;
    Point points_[2], *here_ = nullptr;
    Lu lu_;
    double *data_, *columns_, *logs_, *moves_, *scratch_, *cross_, *solved_, *curve_, *damped_, *slope_, *line_, *whole_,
        *linear_gram_, *moments_;
    Buffer<double> data_store_, columns_store_, logs_store_, moves_store_, scratch_store_, cross_store_, solved_store_,
        curve_store_, damped_store_, slope_store_, step_store_, whole_store_, gram_store_, moments_store_;
};

}  // namespace

static void drive_fit(DriveFitArgs& args) { Fit(args).run(); }

DASH_OPERATOR_OF(DriveFitArgs, drive_fit)

}  // namespace DASH_ISA
}  // namespace dash
