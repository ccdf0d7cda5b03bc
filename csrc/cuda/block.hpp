// What the algorithm asks of the machine: loops over items by threads, barriers, sums over the lanes of a warp. The
// threads are those of one block, or of a team: all blocks of a cooperative launch, which work on one run. DeviceBlock
// and DeviceTeam are CUDA; HostBlock and HostTeam (host_block.hpp) run the same source on the CPU, thread by thread, in
// any order. Every sum has an order that depends on shapes only, never on the number of threads or blocks.
#pragma once
#include <cstdint>
#include <type_traits>

#ifdef __CUDACC__
#include <cooperative_groups.h>

#define DASH_BLOCK __device__ __forceinline__
#define DASH_PHASE __device__ __noinline__
#else
#define DASH_BLOCK inline
#define DASH_PHASE inline
#endif

#ifdef __CUDACC__
#define DASH_UNROLL _Pragma("unroll")
#define DASH_UNROLL_TWICE _Pragma("unroll 2")
#define DASH_PRAGMA(text) _Pragma(#text)
#define DASH_UNROLL_BY(n) DASH_PRAGMA(unroll (n))
#else
#define DASH_UNROLL
#define DASH_UNROLL_TWICE
#define DASH_UNROLL_BY(n)
#endif

namespace dash {
namespace gpu {

constexpr int kLanes = 32;    // of a warp
constexpr int kSamples = 4;   // of a tile: integrated side by side, so that a weight is read once for four
constexpr int kTeamTiles = 4; // tiles that a team integrates side by side
constexpr int kQuad = 4;      // lanes of a quad: four neighbours
constexpr int kHidden = 8;    // hidden units are padded to this: those that a warp takes at once
constexpr int kPanel = 4;     // hidden units in a panel of a dense matrix

template <class T>
struct alignas(16) Four {  // one number per sample of a tile
    T s[kSamples];
};

DASH_BLOCK int round_up(int n, int unit) { return (n + unit - 1) / unit * unit; }

#ifdef __CUDACC__

// The threads of a block, or with kTeam those of all blocks. A team's launch must be cooperative. What one block has
// written another may read after a barrier, through ordinary loads only: no const __restrict__, no __ldg.
template <bool kTeam>
struct DeviceThreads {
    static constexpr int kTiles = kTeam ? kTeamTiles : 1;

    __device__ __forceinline__ int rank() const { return kTeam ? blockIdx.x : 0; }  // of the block in its team

    __device__ __forceinline__ void barrier() const {
        if constexpr (kTeam)
            cooperative_groups::this_grid().sync();
        else
            __syncthreads();
    }

    // f(i) for i in 0..n-1, no barrier: the items of neighbouring calls must be independent.
    template <class F>
    __device__ __forceinline__ void for_all(int n, F f) const {
        // unsigned where steps are large: i must not pass the largest int
        typedef std::conditional_t<kTeam, unsigned, int> Index;
        const Index end = n, step = threads();
        for (Index i = thread(); i < end; i += step) f(static_cast<int>(i));
    }
    template <class F>
    __device__ __forceinline__ void for_all_sync(int n, F f) const {
        for_all(n, f);
        barrier();
    }
    // f(i) for i in 0..n-1 by every block of the team, for what each block has of its own (its context); ends with a
    // barrier of the block. Before it, a barrier must stand after what f reads of the team's memory was written, and
    // after the block last read what f changes.
    template <class F>
    __device__ __forceinline__ void per_block(int n, F f) const {
        for (int i = threadIdx.x; i < n; i += blockDim.x) f(i);
        __syncthreads();
    }

    // For each item a warp adds N numbers over its lanes: partial(item, lane, acc) fills acc[N], finish(item, k, sum)
    // is called once for each k. Warp `first` takes item 0. No barrier.
    template <int N, class A, class P, class F>
    __device__ __forceinline__ void warp_sums(int first, int items, P partial, F finish) const {
        const int lane = threadIdx.x % kLanes, warps = threads() / kLanes;
        constexpr int of_lane = N > kLanes ? N / kLanes : 1, step = N > kLanes ? 1 : kLanes / N;
        for (int item = (thread() / kLanes + warps - first % warps) % warps; item < items; item += warps) {
            A acc[N];
            DASH_UNROLL for (int k = 0; k < N; ++k) acc[k] = A(0);
            partial(item, lane, acc);
            fold<N, kLanes / 2>(acc, lane);
            if (lane % step) continue;
            DASH_UNROLL for (int k = 0; k < of_lane; ++k) finish(item, lane / step * of_lane + k, acc[k]);
        }
    }

    // The same over the lanes of each quad: finish(item, lane, sums) is called by every lane, by lane j of a quad with
    // the j-th quarter of the sums.
    template <int N, class A, class P, class F>
    __device__ __forceinline__ void quad_sums(int items, P partial, F finish) const {
        const int lane = threadIdx.x % kLanes, warps = threads() / kLanes;
        for (int item = thread() / kLanes; item < items; item += warps) {
            A acc[N];
            DASH_UNROLL for (int k = 0; k < N; ++k) acc[k] = A(0);
            partial(item, lane, acc);
            fold<N, kQuad / 2>(acc, lane);
            finish(item, lane, acc);
        }
    }

  private:
    static __device__ __forceinline__ unsigned thread() {
        return kTeam ? blockIdx.x * blockDim.x + threadIdx.x : threadIdx.x;
    }
    static __device__ __forceinline__ unsigned threads() { return kTeam ? gridDim.x * blockDim.x : blockDim.x; }

    // Halve what is left: a lane keeps one half of the numbers and gets its partner's part of them.
    template <int W, int O, class A>
    static __device__ __forceinline__ void fold(A* acc, int lane) {
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
        if constexpr (O > 1) fold<half, O / 2>(acc, lane);
    }
};

typedef DeviceThreads<false> DeviceBlock;
typedef DeviceThreads<true> DeviceTeam;

#endif

}  // namespace gpu
}  // namespace dash
