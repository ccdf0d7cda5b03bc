// Memory of the host and the device that a launch fills, sends and fetches, and how long that takes.
#pragma once
#include <chrono>
#include <cstring>
#include <map>
#include <vector>

#include "device.hpp"
#include "parallel.hpp"

namespace dash {
namespace gpu {

// A stretch of device memory that is filled on the host first. Filled twice: once to learn its size, once for good.
// What `put` is given is copied by `settle`, by several threads.
class Arena {
  public:
    void begin(char* host, char* device) { host_ = host, device_ = device, used_ = 0, copies_.clear(); }
    void settle() {
        parallel_for(copies_.size(), [&](size_t k) { std::memcpy(copies_[k].to, copies_[k].from, copies_[k].bytes); });
        copies_.clear();
    }
    int64_t used() const { return used_; }
    void send() const;   // all of it to the device
    void fetch() const;  // and back

    // Room for count numbers: the device's pointer; `host` gets the place to fill, or null in the first pass.
    template <class U>
    U* room(int64_t count, U** host) {
        const int64_t at = used_;
        used_ += (count * int64_t(sizeof(U)) + 255) / 256 * 256;
        *host = host_ ? reinterpret_cast<U*>(host_ + at) : nullptr;
        return reinterpret_cast<U*>(device_ + at);
    }
    template <class U>
    U* put(const U* from, int64_t count) {
        U* host;
        U* device = room(count, &host);
        if (host && count) copies_.push_back({host, from, count * sizeof(U)});
        return device;
    }
    // The same array put once, however often it is asked for.
    template <class U>
    const U* put_once(const U* from, int64_t count, std::map<const void*, const void*>& known) {
        const auto found = known.find(from);
        if (found != known.end()) return static_cast<const U*>(found->second);
        const U* device = put(from, count);
        known[from] = device;
        return device;
    }
    template <class U>
    U* on_device() const {
        return reinterpret_cast<U*>(device_);
    }
    template <class U>
    U* on_host(const U* device) const {
        return reinterpret_cast<U*>(host_ + (reinterpret_cast<const char*>(device) - device_));
    }

  private:
    struct Copy {
        void* to;
        const void* from;
        size_t bytes;
    };
    char *host_ = nullptr, *device_ = nullptr;
    int64_t used_ = 0;
    std::vector<Copy> copies_;
};

// Device and staging memory that is kept from call to call and only grows.
class Pool {
  public:
    enum Name { kState, kFixed, kScratch, kResult, kNames };
    char* device(Name name, int64_t bytes);
    char* staging(Name name, int64_t bytes);
    void release() noexcept;

  private:
    struct Piece {
        char* memory = nullptr;
        int64_t bytes = 0;
    };
    Piece device_[kNames], staging_[kNames];
};

Pool& pool();
void release_memory();  // of the pool

// Seconds of the calls since the last one of take_timings: work on the host, transfers, kernels.
struct Timings {
    double host, transfer, kernel;
};
Timings& timings();
Timings take_timings();

// What a call puts on the device: what the kernels change, and what they only read.
struct Stage {
    Arena state, fixed;

    // `put` fills both arenas; it runs twice.
    template <class F>
    void fill(F put) {
        state.begin(nullptr, nullptr), fixed.begin(nullptr, nullptr);
        put();
        char *host[2] = {pool().staging(Pool::kState, state.used()), pool().staging(Pool::kFixed, fixed.used())};
        char *device[2] = {pool().device(Pool::kState, state.used()), pool().device(Pool::kFixed, fixed.used())};
        state.begin(host[0], device[0]), fixed.begin(host[1], device[1]);
        put();
        state.settle(), fixed.settle();
    }
    template <class U>
    void copy_back(const U* device, int64_t count, U* to) const {
        std::memcpy(to, state.on_host(device), count * sizeof(U));
    }
};

// Adds the time from here to the end of the scope.
class Timer {
  public:
    explicit Timer(double& sum) : sum_(sum), began_(Clock::now()) {}
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    ~Timer() { sum_ += std::chrono::duration<double>(Clock::now() - began_).count(); }

  private:
    typedef std::chrono::steady_clock Clock;
    double& sum_;
    Clock::time_point began_;
};

}  // namespace gpu
}  // namespace dash
