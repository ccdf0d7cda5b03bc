// How an operator of the GPU is registered. One line in its file in ops/ makes the kernel that is launched, its place in
// the list of kernels, and in the emulation, for which the same file is compiled as C++, what stands in for it.
#pragma once
#include "device.hpp"
#include "operator.hpp"

#ifdef __CUDACC__
#include "kernel.cuh"
#else
#include "host_kernel.hpp"
#endif

namespace dash {
namespace gpu {

struct Listed {
    explicit Listed(const Kernel& kernel) { kernels().push_back(&kernel); }
};

}  // namespace gpu
}  // namespace dash

// All inside namespace dash::gpu. Operator<T> for float and double, a task to a block, or all blocks to a task:
#define DASH_KERNEL(name, Operator)                                    \
    DASH_REGISTER(kernel_of, make_block_kernel, name "_f32", Operator<float>, Operator##_f32)  \
    DASH_REGISTER(kernel_of, make_block_kernel, name "_f64", Operator<double>, Operator##_f64)
#define DASH_TEAM_KERNEL(name, Operator)                                    \
    DASH_REGISTER(team_kernel_of, make_team_kernel, name "_f32", Operator<float>, Operator##_f32)  \
    DASH_REGISTER(team_kernel_of, make_team_kernel, name "_f64", Operator<double>, Operator##_f64)
// Operator, whose tasks have one type, of float64:
#define DASH_KERNEL_OF(name, Operator) DASH_REGISTER(kernel_of, make_block_kernel, name "_f64", Operator, Operator##_f64)

#define DASH_REGISTER(of, frame, name, Operator, listed)       \
    template <>                                                \
    const Kernel& of<Operator::Task>() {                        \
        static const Kernel kernel = frame<Operator>(name);    \
        return kernel;                                         \
    }                                                          \
    static const Listed listed(of<Operator::Task>());
