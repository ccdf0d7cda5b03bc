// What the class of an operator of the GPU says.
#pragma once
#include "views.hpp"

namespace dash {
namespace gpu {

// An operator that computes in T adds:
//   Task                the structure of one task, with pointers into device memory
//   Kept<tiles>        what a block keeps in shared memory while it does one
//   run(block, kept, task, memory, shared, global)   the computation, over the threads of block.hpp
template <class T>
struct OperatorOf {
    // Of a block: 384 threads of at most 168 registers fill the register file of one multiprocessor; float64 takes more.
    static constexpr int kThreads = sizeof(T) == 4 ? 384 : 256;
    static constexpr int kBeside = 1;  // such blocks that share a multiprocessor
};

}  // namespace gpu
}  // namespace dash
