// Blocks and teams on the CPU: the same items and the same order of every sum as DeviceBlock and DeviceTeam. Items
// between two barriers run thread by thread in a chosen order, whole loops in either order, so that a result which
// depends on an order that a GPU does not promise shows as a difference. The blocks of a team run one after another from
// one barrier of the team to the next, in an order shuffled each time, each with a context of its own.
#pragma once
#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "block.hpp"
#include "device.hpp"

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

// Lets the blocks of a team run in turns.
class HostGrid {
  public:
    HostGrid(int blocks, unsigned seed) : seed_(seed), random_(seed), turn_(blocks), order_(blocks) {
        std::iota(order_.begin(), order_.end(), 0);
    }
    void run(const std::function<void(int rank)>& body) {
        std::vector<std::thread> threads;
        for (int rank = 0; rank < static_cast<int>(turn_.size()); ++rank)
            threads.emplace_back([&, rank] {
                try {
                    wait(rank);
                    body(rank);
                } catch (...) {
                    const std::lock_guard<std::mutex> guard(lock_);
                    if (!failure_) failure_ = std::current_exception();
                }
                const std::lock_guard<std::mutex> guard(lock_);
                next();
            });
        for (std::thread& thread : threads) thread.join();
        if (failure_) std::rethrow_exception(failure_);
    }
    void barrier(int rank) {
        {
            const std::lock_guard<std::mutex> guard(lock_);
            ++waiting_;
            next();
        }
        wait(rank);
    }

  private:
    void wait(int rank) {
        std::unique_lock<std::mutex> guard(lock_);
        turn_[rank].wait(guard, [&] { return failure_ || order_[at_] == rank; });
        if (failure_) std::rethrow_exception(failure_);
    }
    // The next block's turn, or when all have met at the barrier, a new round; the lock is held.
    void next() {
        if (++at_ == order_.size()) {
            at_ = 0;
            if (waiting_ > 0 && waiting_ != static_cast<int>(order_.size()))
                failure_ = std::make_exception_ptr(
                    DeviceError(DeviceError::kFault, "some blocks of a team left before a barrier of the others"));
            waiting_ = 0;
            if (seed_) std::shuffle(order_.begin(), order_.end(), random_);
        }
        if (failure_)
            for (std::condition_variable& turn : turn_) turn.notify_one();
        else
            turn_[order_[at_]].notify_one();
    }

    unsigned seed_;
    std::mt19937 random_;
    std::mutex lock_;
    std::vector<std::condition_variable> turn_;
    std::vector<int> order_;
    size_t at_ = 0;
    int waiting_ = 0;
    std::exception_ptr failure_;
};

// A block, which with K > 1 is one of a team.
template <int K>
struct HostWorkers {
    static constexpr int kTiles = K;
    HostThreads* pool;
    HostGrid* grid = nullptr;
    int number = 0, blocks = 1;

    int rank() const { return number; }

    void barrier() const {
        pool->barrier();
        if (grid) grid->barrier(number);
    }

    template <class F>
    void for_all(int n, F f) const {
        const int here = pool->threads(), first = number * here, step = blocks * here;
        pool->add([=](int thread) {
            for (int64_t i = first + thread; i < n; i += step) f(static_cast<int>(i));
        });
    }
    template <class F>
    void for_all_sync(int n, F f) const {
        for_all(n, f);
        barrier();
    }
    template <class F>
    void per_block(int n, F f) const {
        const int threads = pool->threads();
        pool->add([=](int thread) {
            for (int i = thread; i < n; i += threads) f(i);
        });
        pool->barrier();
    }

    template <int N, class A, class P, class F>
    void warp_sums(int first, int items, P partial, F finish) const {
        constexpr int of_lane = N > kLanes ? N / kLanes : 1, step = N > kLanes ? 1 : kLanes / N;
        each_warp<N, A>(first, items, 1, partial, [=](int item, const A(*acc)[N]) {
            for (int lane = 0; lane < kLanes; lane += step)
                for (int k = 0; k < of_lane; ++k) finish(item, lane / step * of_lane + k, acc[lane][k]);
        });
    }
    template <int N, class A, class P, class F>
    void quad_sums(int items, P partial, F finish) const {
        each_warp<N, A>(0, items, kLanes / kQuad, partial, [=](int item, const A(*acc)[N]) {
            for (int lane = 0; lane < kLanes; ++lane) finish(item, lane, acc[lane]);
        });
    }

  private:
    // The sums over groups of neighbouring lanes, `groups` to a warp.
    template <int N, class A, class P, class F>
    void each_warp(int first, int items, int groups, P partial, F finish) const {
        const int here = pool->threads() / kLanes, warps = blocks * here, own = number * here;
        pool->add([=](int thread) {
            if (thread % kLanes) return;  // lane 0 does the work of its warp
            for (int item = (own + thread / kLanes + warps - first % warps) % warps; item < items; item += warps) {
                A acc[kLanes][N];
                for (int lane = 0; lane < kLanes; ++lane) {
                    for (int k = 0; k < N; ++k) acc[lane][k] = A(0);
                    partial(item, lane, acc[lane]);
                }
                int width = N;
                for (int offset = kLanes / groups / 2; offset > 0; offset /= 2) {
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
                finish(item, acc);
            }
        });
    }
};

typedef HostWorkers<1> HostBlock;
typedef HostWorkers<kTeamTiles> HostTeam;

}  // namespace gpu
}  // namespace dash
