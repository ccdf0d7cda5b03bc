// A loop over independent items on the host's cores: packing many runs takes as long as their epochs otherwise.
#pragma once
#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace dash {
namespace gpu {

template <class F>
void parallel_for(size_t n, F f) {
    constexpr size_t kMost = 8, kAtLeast = 8;  // threads; items for which they are worth their start
    const size_t cores = std::max<size_t>(1, std::thread::hardware_concurrency());
    const size_t threads = n < kAtLeast ? 1 : std::min(kMost, std::min(cores, n / 4));
    std::atomic<size_t> next{0};
    std::exception_ptr failure;
    std::mutex lock;
    auto work = [&] {
        try {
            for (size_t i; (i = next++) < n;) f(i);
        } catch (...) {
            const std::lock_guard<std::mutex> guard(lock);
            failure = std::current_exception();
        }
    };
    std::vector<std::thread> others;
    try {
        for (size_t k = 1; k < threads; ++k) others.emplace_back(work);
    } catch (const std::system_error&) {  // the machine gives no more: fewer do the same
    }
    work();
    for (std::thread& thread : others) thread.join();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace gpu
}  // namespace dash
