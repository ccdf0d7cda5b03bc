// drive_search: the regulators of one gene from the courses of all: columns, search, products of regulators, and the drive.
#include "../../core/drive_search.hpp"

#include "../lu.hpp"
#include "../operators.hpp"
#include "../search.hpp"

namespace dash {
namespace DASH_ISA {
namespace {

// Numbers of dash_hpc/ops/drive_search.py.
constexpr double kInterceptPrecision = 1e-4, kTrusted = 0.01, kGrown = 1.2, kChanceMedian = 0.4549, kByChance = 0.75,
                 kSeen = 1e-6;
constexpr int kMostInflations = 6, kEnough = 20;

// The middle of n numbers, which are put in another order.
double median(double* x, int64_t n) {
    for (int64_t gap = n / 2; gap > 0; gap /= 2)
        for (int64_t i = gap; i < n; ++i) {
            const double value = x[i];
            int64_t j = i;
            for (; j >= gap && x[j - gap] > value; j -= gap) x[j] = x[j - gap];
            x[j] = value;
        }
    return n & 1 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

// Values of a few columns. One by one: instructions that gather are slower than loads.
#if defined(__GNUC__) && !defined(__clang__)
__attribute__((noinline, optimize("no-tree-vectorize")))
#endif
void pick(const double* from, const int64_t* column, int64_t n, double* to) {
    for (int64_t c = 0; c < n; ++c) to[c] = from[column[c]];
}

class Reader {
  public:
    explicit Reader(DriveSearchArgs& args) : t_(args), C_(args.candidates) {
        for (int64_t q = 0; q < t_.parts; ++q) {
            const SearchPart& part = t_.part[q];
            n_drive_ += part.n, n_others_ += part.n * (part.rows - 1), means_ += part.rows - 1;
            free_ += (part.n - part.centred) * (part.rows - 1);
        }
        drive_data_ = store_[0].reserve(n_drive_), other_data_ = store_[1].reserve(n_others_);
        drive_ = store_[2].reserve(n_drive_ * C_), others_ = store_[3].reserve(n_others_ * C_);
        mean_ = store_[4].zeros(means_ * C_), data_mean_ = store_[5].zeros(means_);
        loose_ = place_.reserve(C_);
        for (int64_t c = 0; c < C_; ++c)
            if (t_.loose[c] > 0) loose_[first_++] = c;
        ++first_;
        fixed_drive_ = store_[6].reserve(n_drive_ * (first_ + kMostPairs));
        fixed_others_ = store_[7].reserve(n_others_ * (first_ + kMostPairs));
        fixed_mean_ = store_[8].zeros(means_ * (first_ + kMostPairs));
        read_data();
        read_columns();
    }

    void run() {
        RegulatorsArgs a{};
        double* precision = store_[14].reserve(first_ + kMostPairs);
        precision[0] = kInterceptPrecision;
        for (int64_t k = 1; k < first_; ++k) precision[k] = 1 / (t_.loose[loose_[k - 1]] * t_.loose[loose_[k - 1]]);
        a.n_drive = n_drive_, a.n_others = n_others_, a.fixed = first_, a.candidates = C_, a.starts = t_.starts;
        a.drive_data = drive_data_, a.other_data = other_data_, a.drive = drive_, a.others = others_;
        a.fixed_drive = fixed_drive_, a.fixed_others = fixed_others_, a.fixed_precision = precision;
        a.prior = t_.prior, a.sign = t_.sign, a.start = t_.start, a.free_drive = n_drive_, a.free_others = free_;
        a.slab = t_.slab, a.drive_variance = t_.drive_variance, a.other_variance = t_.other_variance;
        a.members = t_.members, a.log_bf = t_.log_bf, a.score = t_.score, a.information = t_.information;
        a.expected = t_.expected, a.watch = t_.watch;
        const int64_t most = t_.starts > kMostRegulators ? t_.starts : kMostRegulators;
        a.coefficients = store_[9].reserve(first_ + kMostPairs + most);
        set_fixed(first_);
        const double drive_floor = floor_of(drive_data_, n_drive_, true);
        const double other_floor = floor_of(other_data_, n_others_, false);
        auto inflate = [&](double by) {
            a.drive_floor = by * drive_floor, a.other_floor = by * other_floor, a.inflation = by;
        };
        inflate(t_.inflation);
        Search search(a, t_.products ? kMostPairs : 0);
        search.run();
        for (int turn = 0; turn < (t_.inflate ? kMostInflations : 0); ++turn) {
            const double growth = inflation(a) / t_.inflation;
            if (growth < kGrown) break;
            t_.inflation *= growth;
            inflate(t_.inflation);
            search.run();
        }
        t_.pairs = 0;
        double product_precision = kMemberPrecision;
        if (t_.products && a.count) {
            const double size = 2 * size_of(a.count);
            product_precision = 1 / (size * size);
            pair(a.count);
            for (int64_t q = 0; q < t_.pairs; ++q) precision[first_ + q] = product_precision;
            a.fixed = first_ + t_.pairs;
            set_fixed(a.fixed);
            read_products();
            search.fix();
            search.run();
        }
        t_.count = a.count, t_.drive_variance = a.drive_variance, t_.other_variance = a.other_variance;
        t_.evidence = search.evidence(1 / (size_of(a.count) * size_of(a.count)));
        refit(product_precision);
        if (t_.inflate) t_.inflation = inflation(a);
    }

  private:
    // Typical size of a coefficient among k.
    double size_of(int64_t k) const {
        return std::exp(t_.slab.level - t_.slab.slope * std::log(static_cast<double>(k > 1 ? k : 1)));
    }

    // The data's rows, others centred where they are to be.
    void read_data() {
        int64_t a = 0, b = 0, m = 0;
        for (int64_t q = 0; q < t_.parts; ++q) {
            const SearchPart& part = t_.part[q];
            for (int64_t i = 0; i < part.n; ++i) drive_data_[a + i] = part.data[i * part.rows];
            for (int64_t r = 1; r < part.rows; ++r, ++m, b += part.n) {
                for (int64_t i = 0; i < part.n; ++i) other_data_[b + i] = part.data[i * part.rows + r];
                if (!part.centred) continue;
                for (int64_t i = 0; i < part.n; ++i) data_mean_[m] += other_data_[b + i];
                data_mean_[m] /= static_cast<double>(part.n);
                for (int64_t i = 0; i < part.n; ++i) other_data_[b + i] -= data_mean_[m];
            }
            a += part.n;
        }
    }

    static constexpr int64_t kChunk = 256, kLong = 16;
    // How many candidates from `first` on are taken at once, and whether they are neighbours among the genes.
    bool in_a_row(int64_t first, int64_t& width) const {
        auto run = [&](int64_t from) {
            int64_t to = from + 1;
            while (to < C_ && to - from < kChunk && t_.candidate[to] == t_.candidate[to - 1] + 1) ++to;
            return to - from;
        };
        width = run(first);
        if (width >= kLong) return true;
        for (int64_t next; first + width < C_; width += next) {
            next = run(first + width);
            if (next >= kLong || width + next > kChunk) break;
        }
        return false;
    }

    static void fetch(const double* x, const int64_t* gene, int64_t n, int64_t step) {
        for (int64_t c = 0; c < n; c += step) __builtin_prefetch(x + gene[c]);
    }
    // Columns of the candidates.
    void read_columns() {
        Buffer<double> store;
        Buffer<const double*> line_store;
        int64_t a = 0, b = 0, m = 0;
        for (int64_t q = 0; q < t_.parts; ++q) {
            const SearchPart& part = t_.part[q];
            double* tile = store.reserve(part.points * kChunk);
            const double** line = line_store.reserve(part.points);
            t_.watch->spend(part.n * part.points * C_ * (part.rows + 2));
            for (int64_t first = 0, width; first < C_; first += width) {
                const int64_t* gene = t_.candidate + first;
                const bool row = in_a_row(first, width);
                for (int64_t i = 0; i < part.n; ++i) {
                    for (int64_t u = 0; u < part.points; ++u) {
                        const double* from = part.features + (u * part.block + part.members[i]) * t_.genes;
                        if (i + 1 < part.n)  // each line begins on a page of its own: nobody fetches it ahead
                            fetch(part.features + (u * part.block + part.members[i + 1]) * t_.genes, gene, width,
                                  row ? 8 : 1);
                        double* own = tile + u * kChunk;
                        line[u] = from + gene[0];
                        if (!row) pick(from, gene, width, own), line[u] = own;
                        if (part.shift) {
                            const double *x = line[u],
                                         *by = part.shift + (part.members[i] * part.points + u) * C_ + first;
                            for (int64_t c = 0; c < width; ++c) own[c] = x[c] + by[c];
                            line[u] = own;
                        }
                    }
                    for (int64_t r = 0; r < part.rows; r += kRows) {
                        double* out[kRows];
                        const int rows = part.rows - r < kRows ? static_cast<int>(part.rows - r) : kRows;
                        for (int k = 0; k < rows; ++k)
                            out[k] = (r + k ? others_ + (b + (r + k - 1) * part.n + i) * C_ : drive_ + (a + i) * C_) + first;
                        const double* weights = part.weights + r * part.points;
                        switch (rows) {
                            case 1: apply<1>(line, part.points, weights, width, out); break;
                            case 2: apply<2>(line, part.points, weights, width, out); break;
                            case 3: apply<3>(line, part.points, weights, width, out); break;
                            default: apply<4>(line, part.points, weights, width, out);
                        }
                    }
                }
            }
            centre(part, others_ + b * C_, C_, 0, C_, mean_ + m * C_);
            a += part.n, b += part.n * (part.rows - 1), m += part.rows - 1;
        }
    }

    static constexpr int kRows = 4;
    // out[r] = sum over u of weights[r, u] line[u], R rows at once, each element's sum in the order of u.
    template <int R>
    static void apply(const double* const* line, int64_t points, const double* weights, int64_t width, double* const* out) {
        typedef Vec<double> V;
        constexpr int W = kWidth<double>;
        int64_t c = 0;
        for (; c + 2 * W <= width; c += 2 * W) {
            V low[R], high[R];
            DASH_EACH(r, R) low[r] = high[r] = V{}; DASH_END
            for (int64_t u = 0; u < points; ++u) {
                V x, y;
                std::memcpy(&x, line[u] + c, sizeof x);
                std::memcpy(&y, line[u] + c + W, sizeof y);
                DASH_EACH(r, R)
                    const V weight = broadcast<V>(weights[r * points + u]);
                    low[r] += weight * x, high[r] += weight * y;
                DASH_END
            }
            DASH_EACH(r, R)
                std::memcpy(out[r] + c, &low[r], sizeof(V));
                std::memcpy(out[r] + c + W, &high[r], sizeof(V));
            DASH_END
        }
        for (; c < width; c += W) {  // the rest in vectors too, for their products are rounded with the sums
            const size_t bytes = (width - c < W ? width - c : W) * sizeof(double);
            V sum[R];
            DASH_EACH(r, R) sum[r] = V{}; DASH_END
            for (int64_t u = 0; u < points; ++u) {
                V x = {};
                std::memcpy(&x, line[u] + c, bytes);
                DASH_EACH(r, R) sum[r] += broadcast<V>(weights[r * points + u]) * x; DASH_END
            }
            DASH_EACH(r, R) std::memcpy(out[r] + c, &sum[r], bytes); DASH_END
        }
    }

    // Take the means of columns first to last, of `stride`, off the rows of a part, and keep them.
    static void centre(const SearchPart& part, double* rows, int64_t stride, int64_t first, int64_t last, double* mean) {
        if (!part.centred) return;
        for (int64_t r = 0; r + 1 < part.rows; ++r) {
            double *own = rows + r * part.n * stride, *middle = mean + r * stride;
            for (int64_t i = 0; i < part.n; ++i)
                for (int64_t c = first; c < last; ++c) middle[c] += own[i * stride + c];
            for (int64_t c = first; c < last; ++c) middle[c] /= static_cast<double>(part.n);
            for (int64_t i = 0; i < part.n; ++i)
                for (int64_t c = first; c < last; ++c) own[i * stride + c] -= middle[c];
        }
    }

    // Of `fixed` fixed columns the first: what a constant drive is in the rows, and the columns of loose candidates.
    void set_fixed(int64_t fixed) {
        f_ = fixed;
        for (int64_t k = 0; k < n_others_ * f_; ++k) fixed_others_[k] = 0;
        for (int64_t k = 0; k < means_ * f_; ++k) fixed_mean_[k] = 0;
        int64_t row = 0;
        for (int64_t q = 0; q < t_.parts; ++q)
            for (int64_t i = 0; i < t_.part[q].n; ++i) fixed_drive_[f_ * row++] = t_.part[q].constant;
        for (int64_t k = 1; k < first_; ++k) {
            for (int64_t r = 0; r < n_drive_; ++r) fixed_drive_[r * f_ + k] = drive_[r * C_ + loose_[k - 1]];
            for (int64_t r = 0; r < n_others_; ++r) fixed_others_[r * f_ + k] = others_[r * C_ + loose_[k - 1]];
        }
    }

    // The other fixed columns: products of pairs of candidates.
    void read_products() {
        int64_t a = 0, b = 0, m = 0;
        Buffer<double> store;
        double line[kMostPairs];
        for (int64_t q = 0; q < t_.parts; ++q) {
            const SearchPart& part = t_.part[q];
            double* sums = store.reserve(part.rows * kMostPairs);
            t_.watch->spend(part.n * part.points * t_.pairs * (part.rows + 2));
            for (int64_t i = 0; i < part.n; ++i) {
                std::memset(sums, 0, part.rows * kMostPairs * sizeof(double));
                for (int64_t u = 0; u < part.points; ++u) {
                    const double* from = part.features + (u * part.block + part.members[i]) * t_.genes;
                    for (int64_t p = 0; p < t_.pairs; ++p)
                        line[p] = from[t_.candidate[t_.pair[2 * p]]] * from[t_.candidate[t_.pair[2 * p + 1]]];
                    for (int64_t r = 0; r < part.rows; ++r)
                        for (int64_t p = 0; p < t_.pairs; ++p)
                            sums[r * kMostPairs + p] += part.weights[r * part.points + u] * line[p];
                }
                for (int64_t p = 0; p < t_.pairs; ++p) fixed_drive_[(a + i) * f_ + first_ + p] = sums[p];
                for (int64_t r = 1; r < part.rows; ++r)
                    for (int64_t p = 0; p < t_.pairs; ++p)
                        fixed_others_[(b + (r - 1) * part.n + i) * f_ + first_ + p] = sums[r * kMostPairs + p];
            }
            centre(part, fixed_others_ + b * f_, f_, first_, f_, fixed_mean_ + m * f_);
            a += part.n, b += part.n * (part.rows - 1), m += part.rows - 1;
        }
    }

    // Least variance of rows: of the noise, or a share of what they vary by, about their mean or about 0.
    double floor_of(const double* x, int64_t n, bool about_mean) const {
        double mean = 0, sum = 0;
        if (about_mean) {
            for (int64_t i = 0; i < n; ++i) mean += x[i];
            mean /= static_cast<double>(n);
        }
        for (int64_t i = 0; i < n; ++i) sum += (x[i] - mean) * (x[i] - mean);
        const double share = n ? kTrusted * sum / static_cast<double>(n) : 0.0;
        return t_.noise > share ? t_.noise : share;
    }

    // How much larger the squared scores of candidates that are not in are than chance makes them.
    double inflation(const RegulatorsArgs& a) {
        double* ratio = store_[10].reserve(C_);
        uint8_t* inside = inside_.zeros(C_);
        for (int64_t k = 0; k < a.count; ++k) inside[a.members[k]] = 1;
        int64_t n = 0;
        for (int64_t c = 0; c < C_; ++c)
            if (!inside[c] && a.information[c] > kSeen) ratio[n++] = a.score[c] * a.score[c] / a.information[c];
        if (n < kEnough) return t_.inflation;
        const double found = t_.inflation * median(ratio, n) / kChanceMedian - kByChance;
        return found > 1 ? found : 1;
    }

    // All pairs, squares too, of the strongest of `count` members; of equals the first.
    void pair(int64_t count) {
        int64_t strongest[kMultiplied], n = 0;
        for (int64_t k = 0; k < count; ++k) {
            const int64_t c = t_.members[k];
            const double odds = t_.prior[c] + t_.log_bf[c];
            int64_t at = n < kMultiplied ? n++ : kMultiplied;
            for (; at > 0 && t_.prior[strongest[at - 1]] + t_.log_bf[strongest[at - 1]] < odds; --at)
                if (at < kMultiplied) strongest[at] = strongest[at - 1];
            if (at < kMultiplied) strongest[at] = c;
        }
        for (int64_t k = 0; k < n; ++k)
            for (int64_t l = k; l < n; ++l)
                t_.pair[2 * t_.pairs] = strongest[k], t_.pair[2 * t_.pairs + 1] = strongest[l], ++t_.pairs;
    }

    // The drive on members and those pairs of which both are members, fitted to all rows as measured, not centred.
    void refit(double product_precision) {
        int64_t kept = 0;
        int64_t column[kMostPairs];
        for (int64_t p = 0; p < t_.pairs; ++p) {
            int in = 0;
            for (int64_t k = 0; k < t_.count; ++k)
                in |= (t_.members[k] == t_.pair[2 * p]) | (t_.members[k] == t_.pair[2 * p + 1]) << 1;
            if (in != 3) continue;
            t_.pair[2 * kept] = t_.pair[2 * p], t_.pair[2 * kept + 1] = t_.pair[2 * p + 1], column[kept++] = first_ + p;
        }
        t_.pairs = kept;
        const int64_t k = t_.count, n = 1 + k + kept;
        double *gram = store_[11].zeros(n * n), *found = store_[12].zeros(n), *row = store_[13].reserve(n);
        auto add = [&](double z, double by) {
            for (int64_t i = 0; i < n; ++i) {
                found[i] += by * row[i] * z;
                for (int64_t j = 0; j <= i; ++j) gram[i * n + j] += by * row[i] * row[j];
            }
        };
        t_.watch->spend((n_drive_ + n_others_) * n * n);
        for (int64_t r = 0; r < n_drive_; ++r) {
            row[0] = fixed_drive_[r * f_];
            for (int64_t i = 0; i < k; ++i) row[1 + i] = drive_[r * C_ + t_.members[i]];
            for (int64_t p = 0; p < kept; ++p) row[1 + k + p] = fixed_drive_[r * f_ + column[p]];
            add(drive_data_[r], 1 / t_.drive_variance);
        }
        int64_t r = 0, m = 0;
        for (int64_t q = 0; q < t_.parts; ++q)
            for (int64_t kind = 1; kind < t_.part[q].rows; ++kind, ++m)
                for (int64_t i = 0; i < t_.part[q].n; ++i, ++r) {
                    row[0] = 0;
                    for (int64_t l = 0; l < k; ++l)
                        row[1 + l] = others_[r * C_ + t_.members[l]] + mean_[m * C_ + t_.members[l]];
                    for (int64_t p = 0; p < kept; ++p)
                        row[1 + k + p] = fixed_others_[r * f_ + column[p]] + fixed_mean_[m * f_ + column[p]];
                    add(other_data_[r] + data_mean_[m], 1 / t_.other_variance);
                }
        for (int64_t i = 0; i < n; ++i) {
            gram[i * n + i] += i == 0 ? kInterceptPrecision : i <= k ? kMemberPrecision : product_precision;
            for (int64_t j = 0; j < i; ++j) gram[j * n + i] = gram[i * n + j];
        }
        Lu lu;
        lu.factor(gram, n);
        lu.solve(found);
        t_.offset = found[0];
        for (int64_t i = 0; i < k; ++i) t_.coefficients[i] = found[1 + i];
        for (int64_t p = 0; p < kept; ++p) t_.pair_coefficients[p] = found[1 + k + p];
    }

    DriveSearchArgs& t_;
    int64_t C_, f_ = 1, first_ = 0, n_drive_ = 0, n_others_ = 0, means_ = 0, free_ = 0;
    double *drive_data_, *other_data_, *drive_, *others_, *mean_, *data_mean_, *fixed_drive_, *fixed_others_, *fixed_mean_;
    int64_t* loose_;
    Buffer<double> store_[15];
    Buffer<int64_t> place_;
    Buffer<uint8_t> inside_;
};

}  // namespace

static void drive_search(DriveSearchArgs& args) { Reader(args).run(); }

DASH_OPERATOR_OF(DriveSearchArgs, drive_search)

}  // namespace DASH_ISA
}  // namespace dash
