// The block abstraction on the CPU: the same items and the same order of every sum as DeviceBlock. Items between two
// barriers run thread by thread in a chosen order, whole loops in either order, so that a result which depends on an
// order that a GPU does not promise shows as a difference.
#pragma once
#include <algorithm>
#include <functional>
#include <numeric>
#include <random>
#include <vector>

#include "block.hpp"

namespace dash {
namespace gpu {

class HostThreads {
  public:
    // seed 0: threads and loops in their order; else shuffled anew at each barrier
    HostThreads(int threads, unsigned seed) : seed_(seed), random_(seed), order_(threads) {
        std::iota(order_.begin(), order_.end(), 0);
    }
    int threads() const { return static_cast<int>(order_.size()); }
    void add(std::function<void(int thread)> loop) { loops_.push_back(std::move(loop)); }
    void barrier() {
        if (seed_) {
            std::shuffle(order_.begin(), order_.end(), random_);
            std::shuffle(loops_.begin(), loops_.end(), random_);
        }
        for (const auto& loop : loops_)
            for (const int thread : order_) loop(thread);
        loops_.clear();
        ++barriers;
    }
    long barriers = 0;

  private:
    unsigned seed_;
    std::mt19937 random_;
    std::vector<int> order_;
    std::vector<std::function<void(int)>> loops_;
};

struct HostBlock {
    HostThreads* pool;

    void barrier() const { pool->barrier(); }

    template <class F>
    void apart(int n, F f) const {
        const int threads = pool->threads();
        pool->add([=](int thread) {
            for (int i = thread; i < n; i += threads) f(i);
        });
    }
    template <class F>
    void each(int n, F f) const {
        apart(n, f);
        barrier();
    }

    template <int N, class A, class P, class F>
    void warp_sums(int first, int items, P partial, F finish) const {
        const int warps = pool->threads() / kLanes;
        pool->add([=](int thread) {
            if (thread % kLanes) return;  // lane 0 does the work of its warp
            for (int item = (thread / kLanes + warps - first % warps) % warps; item < items; item += warps) {
                A acc[kLanes][N];
                for (int lane = 0; lane < kLanes; ++lane) {
                    for (int k = 0; k < N; ++k) acc[lane][k] = A(0);
                    partial(item, lane, acc[lane]);
                }
                int width = N;
                for (int offset = kLanes / 2; offset > 0; offset /= 2) {
                    A next[kLanes][N];
                    const int half = width > 1 ? width / 2 : 1;
                    for (int lane = 0; lane < kLanes; ++lane)
                        for (int k = 0; k < half; ++k) {
                            const bool upper = width > 1 && (lane & offset);
                            const int mine = upper ? k + half : k;
                            next[lane][k] = acc[lane][mine] + acc[lane ^ offset][mine];
                        }
                    for (int lane = 0; lane < kLanes; ++lane)
                        for (int k = 0; k < half; ++k) acc[lane][k] = next[lane][k];
                    width = half;
                }
                for (int lane = 0; lane < kLanes; lane += kLanes / N) finish(item, lane / (kLanes / N), acc[lane][0]);
            }
        });
    }
};

}  // namespace gpu
}  // namespace dash
