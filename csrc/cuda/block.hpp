// What the block algorithm asks of the machine: loops over items by the threads of a block, barriers, sums over the
// lanes of a warp. DeviceBlock is CUDA; HostBlock (host_block.hpp) runs the same source on the CPU, thread by thread, in
// any order. Every sum has an order that depends on shapes only, never on the number of threads.
#pragma once
#include <cstdint>

#ifdef __CUDACC__
#define DASH_BLOCK __device__ __forceinline__
#define DASH_PHASE __device__ __noinline__
#else
#define DASH_BLOCK inline
#define DASH_PHASE inline
#endif

#ifdef __CUDACC__
#define DASH_UNROLL _Pragma("unroll")
#define DASH_UNROLL_TWICE _Pragma("unroll 2")
#else
#define DASH_UNROLL
#define DASH_UNROLL_TWICE
#endif

namespace dash {
namespace gpu {

constexpr int kLanes = 32;    // of a warp
constexpr int kSamples = 4;   // integrated side by side, so that a weight is read once for four
constexpr int kHidden = 8;    // hidden units are padded to this: those that a warp takes at once
constexpr int kPanel = 4;     // hidden units in a panel of a dense matrix

template <class T>
struct alignas(16) Four {  // one number per sample
    T s[kSamples];
};

DASH_BLOCK int round_up(int n, int unit) { return (n + unit - 1) / unit * unit; }

#ifdef __CUDACC__

struct DeviceBlock {
    __device__ __forceinline__ void barrier() const { __syncthreads(); }

    // f(i) for i in 0..n-1, no barrier: the items of neighbouring calls must be independent.
    template <class F>
    __device__ __forceinline__ void apart(int n, F f) const {
        for (int i = threadIdx.x; i < n; i += blockDim.x) f(i);
    }
    template <class F>
    __device__ __forceinline__ void each(int n, F f) const {
        apart(n, f);
        __syncthreads();
    }

    // For each item a warp adds N numbers over its lanes: partial(item, lane, acc) fills acc[N], finish(item, k, sum)
    // is called once for each k. Warp `first` takes item 0. No barrier.
    template <int N, class A, class P, class F>
    __device__ __forceinline__ void warp_sums(int first, int items, P partial, F finish) const {
        const int lane = threadIdx.x % kLanes, warps = blockDim.x / kLanes;
        for (int item = (threadIdx.x / kLanes + warps - first % warps) % warps; item < items; item += warps) {
            A acc[N];
            DASH_UNROLL for (int k = 0; k < N; ++k) acc[k] = A(0);
            partial(item, lane, acc);
            fold<N, kLanes / 2>(acc, lane);
            if (lane % (kLanes / N) == 0) finish(item, lane / (kLanes / N), acc[0]);
        }
    }

  private:
    // Halve what is left: a lane keeps one half of the numbers and gets its partner's part of them.
    template <int W, int O, class A>
    static __device__ __forceinline__ void fold(A* acc, int lane) {
        if constexpr (O > 0) {
            constexpr int half = W > 1 ? W / 2 : 1;
            if constexpr (W > 1) {
                const bool upper = lane & O;
                DASH_UNROLL for (int k = 0; k < half; ++k) {
                    const A send = upper ? acc[k] : acc[k + half];
                    const A keep = upper ? acc[k + half] : acc[k];
                    acc[k] = keep + __shfl_xor_sync(0xffffffffu, send, O);
                }
            } else {
                acc[0] += __shfl_xor_sync(0xffffffffu, acc[0], O);
            }
            fold<half, O / 2>(acc, lane);
        }
    }
};

#endif

}  // namespace gpu
}  // namespace dash
