// select of a block: remove the n active entries that come first by (score, index) (mirrors csrc/cpu/select.cpp). Radix
// select on the bits of the scores in their order, four at a time; counts are whole numbers, so their order is free.
#pragma once
#include <cstring>

#include "../../core/target.hpp"
#include "../operator.hpp"

namespace dash {
namespace gpu {

constexpr int kDigitBits = 4, kDigits = 1 << kDigitBits;
constexpr int kCountParts = 32;   // parts in which digits are counted
constexpr int kStretches = 256;   // of neighbouring entries, in which ties are counted

struct SelectView {
    int size, remove;     // remove: at least 1, at most the active entries
    const double* score;  // [size], finite where active
    uint8_t* active;      // [size], changed
    double* threshold;    // the largest score that is removed
};

struct SelectContext {
    uint64_t prefix;  // digits of the threshold that are known, at their place
    int left;         // how many of the entries with these digits go
    int equal;        // how many there are
    int count[kCountParts * kDigits], total[kDigits], ties[kStretches];
};

// Unsigned numbers in the order of the scores; -0.0 is 0.0.
DASH_HD inline uint64_t order_of(double score) {
    const double plain = score == 0 ? 0.0 : score;
    uint64_t bits;
    std::memcpy(&bits, &plain, 8);
    return bits >> 63 ? ~bits : bits | uint64_t(1) << 63;
}

DASH_HD inline double score_of(uint64_t order) {
    const uint64_t bits = order >> 63 ? order & ~(uint64_t(1) << 63) : ~order;
    double score;
    std::memcpy(&score, &bits, 8);
    return score;
}

// One more digit of the threshold: the entries that share the known ones are counted by it.
template <class B>
DASH_PHASE void next_digit(B block, SelectContext* c, const SelectView* task, int shift) {
    const uint64_t known = shift + kDigitBits < 64 ? ~uint64_t(0) << (shift + kDigitBits) : 0;
    block.template warp_sums<kDigits, int>(
        0, kCountParts,
        [=](int part, int lane, int* acc) {
            for (int i = part * kLanes + lane; i < task->size; i += kCountParts * kLanes) {
                const uint64_t order = order_of(task->score[i]);
                if (!task->active[i] || (order & known) != c->prefix) continue;
                const int digit = static_cast<int>(order >> shift) & (kDigits - 1);
                DASH_UNROLL for (int d = 0; d < kDigits; ++d) acc[d] += digit == d;
            }
        },
        [=](int part, int d, int sum) { c->count[part * kDigits + d] = sum; });
    block.barrier();
    block.for_all_sync(kDigits, [=](int d) {
        int sum = 0;
        for (int part = 0; part < kCountParts; ++part) sum += c->count[part * kDigits + d];
        c->total[d] = sum;
    });
    block.for_all_sync(1, [=](int) {
        int digit = 0;
        for (; c->left > c->total[digit]; ++digit) c->left -= c->total[digit];
        c->equal = c->total[digit];
        c->prefix |= uint64_t(digit) << shift;
    });
}

template <class B>
DASH_BLOCK void select_smallest(B block, SelectContext* c, const SelectView* task) {
    block.for_all_sync(1, [=](int) { c->prefix = 0, c->left = task->remove, c->equal = 0; });
    for (int shift = 64 - kDigitBits; shift >= 0; shift -= kDigitBits) next_digit(block, c, task, shift);
    const int size = task->size, stretch = (size + kStretches - 1) / kStretches;
    block.for_all_sync(kStretches, [=](int part) {
        int ties = 0;
        if (c->left < c->equal)  // some ties stay: the lowest indices go first
            for (int i = part * stretch; i < (part + 1) * stretch && i < size; ++i)
                ties += task->active[i] && order_of(task->score[i]) == c->prefix;
        c->ties[part] = ties;
    });
    block.for_all_sync(1, [=](int) {
        int before = 0;
        for (int part = 0; part < kStretches; ++part) {
            const int ties = c->ties[part];
            c->ties[part] = before;
            before += ties;
        }
        *task->threshold = score_of(c->prefix);
    });
    if (c->left < c->equal) {
        block.for_all_sync(kStretches, [=](int part) {
            int before = c->ties[part];
            for (int i = part * stretch; i < (part + 1) * stretch && i < size; ++i) {
                if (!task->active[i]) continue;
                const uint64_t order = order_of(task->score[i]);
                if (order < c->prefix || (order == c->prefix && before++ < c->left)) task->active[i] = 0;
            }
        });
    } else {
        block.for_all_sync(size, [=](int i) {
            if (order_of(task->score[i]) <= c->prefix) task->active[i] = 0;
        });
    }
}

struct Select : OperatorOf<double> {
    static constexpr int kBeside = 2;
    typedef SelectView Task;
    template <int>
    using Kept = SelectContext;
    template <class B>
    DASH_BLOCK static void run(B block, SelectContext* c, const SelectView* task, const Memory&, char*, char*) {
        select_smallest(block, c, task);
    }
};

}  // namespace gpu
}  // namespace dash
