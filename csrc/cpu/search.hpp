// Greedy search for the regulators of one gene by the log-odds of single edges given the others.
#pragma once
#include "../core/regulators.hpp"
#include "logarithm.hpp"

namespace dash {
namespace DASH_ISA {
namespace {

// Numbers of dash_hpc/ops/regulators.py.
constexpr double kMemberPrecision = 0.25, kLeastInformation = 1e-9, kSameVariance = 0.02, kFixedEnough = 0.05;
constexpr int kMoves = 200, kAdds = 100, kVariances = 8, kFixedPoint = 3, kWidths = 4, kClasses = 4;
constexpr double kWidth4[kWidths] = {0.1, 1.0 / 3.0, 1.0, 3.0};

inline double sigmoid(double x) { return 1 / (1 + std::exp(-(x < -50 ? -50 : x > 50 ? 50 : x))); }

// ln of the normal distribution function.
double log_normal(double x) {
    constexpr double kRoot = 0.70710678118654752440;
    if (x > -1) return std::log1p(-0.5 * std::erfc(x * kRoot));
    if (x > -35) return std::log(0.5 * std::erfc(-x * kRoot));
    const double z = 1 / (x * x);  // asymptotic: the next term is below 1e-11 of 1
    const double series = 1 - z * (1 - z * (3 - z * (15 - z * (105 - z * 945))));
    return -0.5 * x * x - std::log(-x) - 0.91893853320467274178 + std::log(series);
}

// Rows of one kind: the columns, and their products as far as they are needed. Columns below `room` are fixed ones, of
// which there are `f` at a time; room + c is candidate c.
class Rows {
  public:
    void begin(int64_t n, int64_t fixed, int64_t room, int64_t candidates, const double* data, const double* in,
               const double* maybe, Watch* watch) {
        n_ = n, F_ = room, C_ = candidates, z_ = data, maybe_ = maybe, watch_ = watch;
        moments_ = moments_store_.zeros(F_ + C_), norms_ = norms_store_.zeros(C_);
        watch_->spend(2 * n_ * C_);
        for (int64_t r = 0; r < n_; ++r) {
            const double z = z_[r], *x = maybe_ + r * C_;
            double* m = moments_ + F_;
            for (int64_t c = 0; c < C_; ++c) m[c] += z * x[c];
            for (int64_t c = 0; c < C_; ++c) norms_[c] += x[c] * x[c];
        }
        fix(fixed, in);
    }

    // Take these as the fixed columns.
    void fix(int64_t fixed, const double* in) {
        f_ = fixed, in_ = in;
        watch_->spend(n_ * f_);
        for (int64_t c = 0; c < f_; ++c) moments_[c] = 0;
        for (int64_t r = 0; r < n_; ++r)
            for (int64_t c = 0; c < f_; ++c) moments_[c] += z_[r] * in_[r * f_ + c];
    }

    // Products of up to kAtOnce columns with all: one row of the table each, in the order of `columns`.
    static constexpr int kAtOnce = 4;
    void products(const int64_t* columns, int count, int64_t first) {
        double* out = table_.grow((first + count) * (F_ + C_)) + first * (F_ + C_);
        std::memset(out, 0, count * (F_ + C_) * sizeof(double));
        watch_->spend(count * n_ * (f_ + C_));
        for (int64_t r = 0; r < n_; ++r)
            for (int k = 0; k < count; ++k) {
                const double x = entry(r, columns[k]), *a = in_ + r * f_, *b = maybe_ + r * C_;
                if (x == 0) continue;
                double *first_of = out + k * (F_ + C_), *rest = first_of + F_;
                for (int64_t c = 0; c < f_; ++c) first_of[c] += x * a[c];
                for (int64_t c = 0; c < C_; ++c) rest[c] += x * b[c];
            }
    }

    // The product of column a, which has a slot, with column b into the slot of b.
    void mirror(int64_t slot_of_a, int64_t a, int64_t slot_of_b, int64_t b) {
        double* table = table_.data();
        table[slot_of_b * (F_ + C_) + a] = table[slot_of_a * (F_ + C_) + b];
    }

    double residual(const int64_t* taken, const double* coefficients, int64_t m) const {
        double sum = 0;
        for (int64_t r = 0; r < n_; ++r) {
            double left = z_[r];
            for (int64_t k = 0; k < m; ++k) left -= coefficients[k] * entry(r, taken[k]);
            sum += left * left;
        }
        return sum;
    }

    // Sum of the squares of the data.
    double square() const {
        double sum = 0;
        for (int64_t r = 0; r < n_; ++r) sum += z_[r] * z_[r];
        return sum;
    }

    const double* moments() const { return moments_; }
    const double* norms() const { return norms_; }
    const double* row(int64_t slot) const { return table_.data() + slot * (F_ + C_); }

  private:
    double entry(int64_t r, int64_t column) const {
        return column < F_ ? in_[r * f_ + column] : maybe_[r * C_ + column - F_];
    }

    int64_t n_ = 0, f_ = 0, F_ = 0, C_ = 0;
    const double *z_ = nullptr, *in_ = nullptr, *maybe_ = nullptr;
    Watch* watch_ = nullptr;
    double *moments_ = nullptr, *norms_ = nullptr;
    Buffer<double> moments_store_, norms_store_, table_;
};

class Search {
  public:
    // `more`: fixed columns that may be added later.
    explicit Search(RegulatorsArgs& args, int64_t more = 0)
        : a_(args), f_(args.fixed), F_(args.fixed + more), C_(args.candidates) {
        drive_.begin(a_.n_drive, f_, F_, C_, a_.drive_data, a_.fixed_drive, a_.drive, a_.watch);
        others_.begin(a_.n_others, f_, F_, C_, a_.other_data, a_.fixed_others, a_.others, a_.watch);
        most_ = F_ + (a_.starts > kMostRegulators ? a_.starts : kMostRegulators);
        slot_ = slot_store_.reserve(F_ + C_);
        for (int64_t c = 0; c < F_ + C_; ++c) slot_[c] = -1;
        taken_ = taken_store_.reserve(most_);
        gram_ = gram_store_.reserve(most_ * C_), solved_ = solved_store_.reserve(most_ * C_);
        factor_ = factor_store_.zeros(most_ * most_), inverse_ = inverse_store_.zeros(most_ * most_);
        covariance_ = covariance_store_.zeros(most_ * most_);
        right_ = right_store_.reserve(most_), beta_ = beta_store_.reserve(most_);
        p_ = p_store_.reserve(C_), inside_ = inside_store_.zeros(C_);
        for (int64_t c = 0; c < f_; ++c) taken_[c] = c;
        m_ = f_;
        for (int64_t k = 0; k < a_.starts; ++k) take(a_.start[k]);
    }

    void run() {
        for (int turn = 0; turn < kVariances; ++turn) {
            settle();
            const double drive = variance(drive_, a_.drive_variance, a_.free_drive, a_.drive_floor);
            const double others = variance(others_, a_.other_variance, a_.free_others, a_.other_floor);
            if (std::fabs(drive / a_.drive_variance - 1) < kSameVariance &&
                std::fabs(others / a_.other_variance - 1) < kSameVariance)
                break;
            a_.drive_variance = drive, a_.other_variance = others;
        }
        a_.count = final_ - f_;
        for (int64_t k = 0; k < a_.count; ++k) a_.members[k] = taken_[f_ + k] - F_;
        for (int64_t k = 0; k < final_; ++k) a_.coefficients[k] = beta_[k];
    }

    // Log evidence of all that is in together and of the prior odds, with a prior precision for members' coefficients.
    // Variances that are inflated stand for so many fewer rows.
    double evidence(double precision) {
        const double by_drive = 1 / a_.drive_variance, by_others = 1 / a_.other_variance;
        double *L = weighed_store_.zeros(final_ * (final_ + 1)), *x = L + final_ * final_;
        double found = -0.5 * (drive_.square() * by_drive + others_.square() * by_others) -
                       0.5 / a_.inflation * (static_cast<double>(a_.free_drive) * std::log(a_.drive_variance) +
                                             static_cast<double>(a_.free_others) * std::log(a_.other_variance));
        for (int64_t r = 0; r < final_; ++r) {
            const double *d = drive_.row(slot_[taken_[r]]), *o = others_.row(slot_[taken_[r]]);
            const double own = r < f_ ? a_.fixed_precision[r] : precision;
            for (int64_t s = 0; s <= r; ++s) {
                double sum = d[taken_[s]] * by_drive + o[taken_[s]] * by_others + (s == r ? own : 0.0);
                for (int64_t q = 0; q < s; ++q) sum -= L[r * final_ + q] * L[s * final_ + q];
                L[r * final_ + s] = s < r ? sum / L[s * final_ + s] : std::sqrt(sum > 1e-12 ? sum : 1e-12);
            }
            x[r] = drive_.moments()[taken_[r]] * by_drive + others_.moments()[taken_[r]] * by_others;
            for (int64_t q = 0; q < r; ++q) x[r] -= L[r * final_ + q] * x[q];
            x[r] /= L[r * final_ + r];
            found += 0.5 * x[r] * x[r] + 0.5 * std::log(own) - std::log(L[r * final_ + r]);
            if (r >= f_) found += a_.prior[taken_[r] - F_];
        }
        return found;
    }

    // Go on with more fixed columns: those of the arguments, which begin with the ones so far. Members stay.
    void fix() {
        const int64_t before = f_, members = m_ - f_;
        f_ = a_.fixed;
        drive_.fix(f_, a_.fixed_drive), others_.fix(f_, a_.fixed_others);
        for (int64_t k = members - 1; k >= 0; --k) taken_[f_ + k] = taken_[before + k];
        for (int64_t c = before; c < f_; ++c) taken_[c] = c;
        m_ = f_ + members;
        const int64_t slots = known_;  // whose products with the new columns are those of the new with theirs
        know();
        for (int64_t b = 0; b < F_ + C_; ++b)
            if (slot_[b] >= 0 && slot_[b] < slots)
                for (int64_t c = before; c < f_; ++c)
                    drive_.mirror(slot_[c], c, slot_[b], b), others_.mirror(slot_[c], c, slot_[b], b);
    }

  private:
    void take(int64_t candidate) { taken_[m_++] = F_ + candidate, inside_[candidate] = 1; }
    void drop(int64_t place) {
        inside_[taken_[place] - F_] = 0;
        for (int64_t k = place; k + 1 < m_; ++k) taken_[k] = taken_[k + 1];
        --m_;
    }

    // Products of all columns that are in are in the tables after this.
    void know() {
        int64_t wanted[Rows::kAtOnce];
        int count = 0;
        for (int64_t k = 0; k < m_; ++k) {
            if (slot_[taken_[k]] < 0) slot_[taken_[k]] = known_ + count, wanted[count++] = taken_[k];
            if (count == Rows::kAtOnce || (count && k == m_ - 1)) {
                drive_.products(wanted, count, known_), others_.products(wanted, count, known_);
                known_ += count, count = 0;
            }
        }
    }

    // Greedy moves under the variances as they are.
    void settle() {
        const double by_drive = 1 / a_.drive_variance, by_others = 1 / a_.other_variance;
        for (int64_t c = 0; c < C_; ++c) p_[c] = sigmoid(a_.prior[c]);
        int64_t valid = 0;  // rows of the factor that stand
        int adds = 0;
        for (int move = 0; move < kMoves; ++move) {
            know();
            factorise(valid, by_drive, by_others);
            judge(by_drive, by_others);
            final_ = m_;
            if (move == kMoves - 1) break;
            valid = m_;
            int64_t best = -1, worst = -1;
            double most = 0, least = 0;
            for (int64_t c = 0; c < C_; ++c) {
                const double odds = a_.prior[c] + a_.log_bf[c];
                if (!inside_[c] && odds > most) most = odds, best = c;
            }
            if (best >= 0 && adds < kAdds && m_ - f_ < kMostRegulators) {
                take(best), ++adds;
                continue;
            }
            for (int64_t k = f_; k < m_; ++k) {
                const int64_t c = taken_[k] - F_;
                const double odds = a_.prior[c] + a_.log_bf[c];
                if (odds < least) least = odds, worst = k;
            }
            if (worst < 0) break;
            drop(worst), valid = worst;
        }
    }

    // Cholesky factor of the Gram matrix of what is in, from row `valid` on, and its inverse applied to all columns.
    void factorise(int64_t valid, double by_drive, double by_others) {
        a_.watch->spend((m_ - valid) * m_ * C_);
        for (int64_t r = valid; r < m_; ++r) {
            const double *d = drive_.row(slot_[taken_[r]]), *o = others_.row(slot_[taken_[r]]);
            double *L = factor_ + r * most_, *row = gram_ + r * C_, *solved = solved_ + r * C_;
            for (int64_t c = 0; c < C_; ++c) row[c] = d[F_ + c] * by_drive + o[F_ + c] * by_others;
            for (int64_t s = 0; s <= r; ++s) {
                double sum = d[taken_[s]] * by_drive + o[taken_[s]] * by_others;
                if (s == r) sum += r < f_ ? a_.fixed_precision[r] : kMemberPrecision;
                const double* K = factor_ + s * most_;
                for (int64_t q = 0; q < s; ++q) sum -= L[q] * K[q];
                // below rounding the column says nothing new: its prior alone is left
                L[s] = s < r ? sum / K[s] : std::sqrt(sum > 1e-12 ? sum : 1e-12);
            }
            for (int64_t c = 0; c < C_; ++c) solved[c] = row[c];
            for (int64_t s = 0; s < r; ++s) {
                const double factor = L[s], *before = solved_ + s * C_;
                for (int64_t c = 0; c < C_; ++c) solved[c] -= factor * before[c];
            }
            const double own = 1 / L[r];
            for (int64_t c = 0; c < C_; ++c) solved[c] *= own;
            // row r of the inverse of L
            double* inverse = inverse_ + r * most_;
            for (int64_t s = 0; s < r; ++s) {
                double sum = 0;
                for (int64_t q = s; q < r; ++q) sum += L[q] * inverse_[q * most_ + s];
                inverse[s] = -sum * own;
            }
            inverse[r] = own;
        }
    }

    // Coefficients, covariance, and the evidence for each candidate given what is in.
    void judge(double by_drive, double by_others) {
        const double *md = drive_.moments(), *mo = others_.moments(), *nd = drive_.norms(), *no = others_.norms();
        for (int64_t r = 0; r < m_; ++r)
            for (int64_t s = 0; s <= r; ++s) {
                double sum = 0;
                for (int64_t q = r; q < m_; ++q) sum += inverse_[q * most_ + r] * inverse_[q * most_ + s];
                covariance_[r * most_ + s] = covariance_[s * most_ + r] = sum;
            }
        for (int64_t r = 0; r < m_; ++r) right_[r] = md[taken_[r]] * by_drive + mo[taken_[r]] * by_others;
        for (int64_t r = 0; r < m_; ++r) {
            double sum = 0;
            for (int64_t s = 0; s < m_; ++s) sum += covariance_[r * most_ + s] * right_[s];
            beta_[r] = sum;
        }
        double *q = a_.score, *s = a_.information;
        for (int64_t c = 0; c < C_; ++c) {
            q[c] = md[F_ + c] * by_drive + mo[F_ + c] * by_others;
            s[c] = nd[c] * by_drive + no[c] * by_others;
        }
        for (int64_t r = 0; r < m_; ++r) {
            const double *row = gram_ + r * C_, *solved = solved_ + r * C_, b = beta_[r];
            for (int64_t c = 0; c < C_; ++c) q[c] -= b * row[c], s[c] -= solved[c] * solved[c];
        }
        for (int64_t r = f_; r < m_; ++r) {
            const double own = 1 / covariance_[r * most_ + r];
            const int64_t c = taken_[r] - F_;
            q[c] = own * beta_[r], s[c] = own - kMemberPrecision;
        }
        for (int64_t c = 0; c < C_; ++c) s[c] = s[c] > kLeastInformation ? s[c] : kLeastInformation;
        for (int pass = 0; pass < kFixedPoint; ++pass) {
            double total = 0, change = 0;
            for (int64_t c = 0; c < C_; ++c) total += p_[c];
            a_.watch->spend(64 * C_);
            for (int64_t c = 0; c < C_; c += kLanes) {
                const int lanes = C_ - c < kLanes ? static_cast<int>(C_ - c) : kLanes;
                const Doubles before = some(p_ + c, lanes), k = vmax(1 + total - before, broadcast<Doubles>(1.0));
                const Doubles found = factors(some(q + c, lanes), some(s + c, lanes), k, a_.sign + c, lanes);
                const Doubles p = probability(some(a_.prior + c, lanes) + found);
                std::memcpy(a_.expected + c, &k, lanes * sizeof(double));
                std::memcpy(a_.log_bf + c, &found, lanes * sizeof(double));
                std::memcpy(p_ + c, &p, lanes * sizeof(double));
                for (int i = 0; i < lanes; ++i) change = std::fmax(change, std::fabs(p[i] - before[i]));
            }
            if (change < kFixedEnough) break;
        }
    }

    static constexpr int kLanes = kWidth<double>;
    // The first `lanes` numbers; the others are 1.
    static Doubles some(const double* x, int lanes) {
        Doubles found = broadcast<Doubles>(1.0);
        std::memcpy(&found, x, lanes * sizeof(double));
        return found;
    }

    static Doubles probability(Doubles odds) {
        const Doubles low = broadcast<Doubles>(-50.0), high = broadcast<Doubles>(50.0);
        return 1.0 / (1.0 + exponential(-(odds < low ? low : odds > high ? high : odds)));
    }

    // Log Bayes factors of single coefficients under the slab.
    Doubles factors(Doubles q, Doubles s, Doubles k, const int64_t* sign, int lanes) const {
        const Doubles size = exponential(a_.slab.level - a_.slab.slope * logarithm(k));
        Doubles part[kWidths], most = broadcast<Doubles>(-HUGE_VAL), sum = {};
        for (int w = 0; w < kWidths; ++w) {
            const Doubles width2 = size * size * kWidth4[w] * kWidth4[w], precision = s + 1.0 / width2;
            part[w] = 0.5 * q * q / precision - 0.5 * logarithm_of_1_and(s * width2);
            for (int i = 0; i < lanes; ++i) {
                const double rounded = std::nearbyint(k[i]);
                const int kind = rounded > kClasses ? kClasses - 1 : static_cast<int>(rounded) - 1;
                part[w][i] += a_.slab.log_weights[w * kClasses + kind];
                if (sign[i])
                    part[w][i] += 0.69314718055994530942 +
                                  log_normal(static_cast<double>(sign[i]) * q[i] / std::sqrt(precision[i]));
            }
            most = vmax(part[w], most);
        }
        for (int w = 0; w < kWidths; ++w) sum += exponential(part[w] - most);
        return most + logarithm(sum);
    }

    // Residual variance of rows, by their effective degrees of freedom.
    double variance(const Rows& rows, double before, int64_t free, double floor) const {
        double used = 0;
        for (int64_t r = 0; r < final_; ++r) {
            const double* row = rows.row(slot_[taken_[r]]);
            for (int64_t s = 0; s < final_; ++s) used += covariance_[r * most_ + s] * row[taken_[s]];
        }
        const double left = static_cast<double>(free) - used / before;
        const double found = a_.inflation * rows.residual(taken_, beta_, final_) / (left > 1 ? left : 1);
        return found > floor ? found : floor;
    }

    RegulatorsArgs& a_;
    int64_t f_, F_, C_, m_ = 0, final_ = 0, most_ = 0, known_ = 0;
    Rows drive_, others_;
    int64_t *slot_, *taken_;
    double *gram_, *solved_, *factor_, *inverse_, *covariance_, *right_, *beta_, *p_;
    uint8_t* inside_;
    Buffer<int64_t> slot_store_, taken_store_;
    Buffer<double> gram_store_, solved_store_, factor_store_, inverse_store_, covariance_store_, right_store_, beta_store_,
        p_store_, weighed_store_;
    Buffer<uint8_t> inside_store_;
};

}  // namespace
}  // namespace DASH_ISA
}  // namespace dash
