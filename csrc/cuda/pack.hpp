// From the caller's arrays to the views of the kernels and back.
#pragma once
#include <cstring>
#include <map>
#include <vector>

#include "context.hpp"
#include "host.hpp"

namespace dash {
namespace gpu {

// A stretch of device memory that is filled on the host first. Filled twice: once to learn its size, once for good.
class Arena {
  public:
    void begin(char* host, char* device) { host_ = host, device_ = device, used_ = 0; }
    int64_t used() const { return used_; }

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
        if (host && count) std::memcpy(static_cast<void*>(host), from, count * sizeof(U));
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
    char *host_ = nullptr, *device_ = nullptr;
    int64_t used_ = 0;
};

// Which entries of a matrix are active, in the kernels' order.
struct Pattern {
    bool compressed = false;
    int64_t values = 0;         // of the caller's array
    std::vector<int64_t> at;    // compressed: the entry's place in the caller's values
    std::vector<uint16_t> row, index, gene_index;
    std::vector<int32_t> ptr, gene_ptr, gene_from;
};

template <class T>
Pattern pattern_of(const HostMatrix<T>& A, int64_t G, int64_t m, double compress_below);

// A matrix's values, moments and structure into the arenas: what the kernel changes, and what it only reads.
template <class T>
MatrixView<T> put_matrix(const HostMatrix<T>& A, const Pattern& s, int64_t G, int64_t m, Arena& state, Arena& fixed);
// Back into the caller's array; entries that are not active become 0.
template <class T>
void take_values(const Pattern& s, const T* packed, T* values);

template <class T>
struct ModelPattern {
    Pattern matrix[4];
    explicit ModelPattern(const HostModel<T>& model, double compress_below) {
        for (int i = 0; i < 4; ++i) matrix[i] = pattern_of(model.matrix[i], model.G, model.m, compress_below);
    }
};

template <class T>
ModelView<T> put_model(const HostModel<T>& model, const ModelPattern<T>& s, Arena& state, Arena& fixed) {
    ModelView<T> view{};
    view.G = static_cast<int>(model.G), view.m = static_cast<int>(model.m);
    for (int k = 0; k < 2; ++k) {
        view.W[k] = put_matrix(model.matrix[k], s.matrix[k], model.G, model.m, state, fixed);
        view.U[k] = put_matrix(model.matrix[2 + k], s.matrix[2 + k], model.G, model.m, state, fixed);
        view.b[k] = state.put(model.b[k], model.m);
    }
    view.v = state.put(model.v, model.G);
    return view;
}

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

// Runs the jobs of a launch in groups that share a size of block, and takes care of memory.
struct Need {
    int64_t near_bytes, far_bytes, work;
};

template <class T>
void run_jobs(Kernel kernel, const void* jobs, std::vector<int> chosen, const std::vector<Need>& needs,
              int64_t state_limit, int64_t shared_bytes);

}  // namespace gpu
}  // namespace dash
