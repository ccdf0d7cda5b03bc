// From the caller's arrays to the views of the kernels and back.
#pragma once
#include <chrono>
#include <cstring>
#include <map>
#include <vector>

#include "context.hpp"
#include "host.hpp"
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

// How the device has a tensor of a model: as the caller does, or the active entries of a matrix in the kernels' order.
struct Pattern {
    bool compressed = false;
    int64_t values = 0;         // of the caller's array
    std::vector<int64_t> at;    // compressed: the entry's place in the caller's values
    std::vector<uint16_t> row, index, gene_index;
    std::vector<int32_t> ptr, gene_ptr, gene_from;

    int64_t entries() const { return compressed ? static_cast<int64_t>(at.size()) : values; }  // that the kernel has
};

inline bool is_matrix(int tensor) { return tensor != B_SUMS && tensor != B_PRODS && tensor != V; }

template <class T>
Pattern pattern_of(const Params<T>& params, int tensor, double compress_below);

struct ModelPattern {
    Pattern tensor[N_TENSORS];
    ModelPattern() = default;
    template <class T>
    ModelPattern(const Params<T>& params, double compress_below) {
        for (int i = 0; i < N_TENSORS; ++i) tensor[i] = pattern_of(params, i, compress_below);
    }
};

// A tensor's values, or what belongs to them, into an arena; null for null.
template <class T>
T* put_values(const Pattern& s, const T* values, Arena& arena);
// Back into the caller's array; entries that are not active become 0.
template <class T>
void take_values(const Pattern& s, const T* packed, T* values);

// A model into the arenas: what a kernel changes, and what it only reads.
template <class T>
Params<T> put_params(const Params<T>& params, const ModelPattern& s, Arena& state, Arena& fixed, ModelForm& form);

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

Timings& timings();

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

// Who works on a job: all blocks of a launch together, a block with a multiprocessor to itself, or one that shares it.
enum class Worker { kTeam, kLarge, kSmall };

// What one job needs, and how long it takes beside others.
struct Need {
    int64_t near_bytes, far_bytes, work;
    Worker worker;
};

// A job whose weights fit half of the shared memory gets a small block; its states then lie where there is room.
template <class T>
Need need_of(const Params<T>& params, const ModelForm& form, const Method<T>& method, Purpose purpose,
             int64_t state_limit, int64_t shared_bytes, bool team, int64_t work) {
    constexpr int64_t kOwn = 4096;  // each block's own: the kernel's static part and what CUDA reserves
    if (team) {
        Context<T, kTeamTiles> context;
        const Needs found = place(context, params, form, method, purpose, state_limit, nullptr, 0, nullptr);
        return {0, found.far_bytes, work, Worker::kTeam};
    }
    for (const Worker worker : {Worker::kSmall, Worker::kLarge}) {
        Context<T, 1> context;
        const bool small = worker == Worker::kSmall;
        const int64_t most = small ? shared_bytes / 2 - kOwn : shared_bytes;
        const Needs found = place(context, params, form, method, purpose, state_limit, nullptr, most > 0 ? most : 0, nullptr);
        if (!small || found.far_weights == 0) return {found.near_bytes, found.far_bytes, work, worker};
    }
    return {};
}

// Whether a team works on a model. Last bits depend on it, so that it is a function of the model's shape and form.
template <class T>
bool for_team(const Kernel& team, const Params<T>& params, const ModelPattern& pattern, const Choices& choices);

// Run the chosen jobs, the longest first, in launches of teams, of large and of small blocks; takes care of memory.
// `team` may be null where no job needs one.
void run_jobs(const Kernel& block, const Kernel* team, const void* jobs, std::vector<int> chosen,
              const std::vector<Need>& needs, int64_t state_limit);

}  // namespace gpu
}  // namespace dash
