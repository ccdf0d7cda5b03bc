// What tests vary in the emulation; results must not depend on any of it.
#pragma once
#include <cstdint>

namespace dash {
namespace gpu {

struct Emulation {
    int threads = 0;                 // of a block, a multiple of 32; 0: as launched
    unsigned seed = 0;               // order of threads and loops between barriers; 0: as written
    int blocks = 2;                  // resident at once; as many make up a team
    bool cooperative = true;         // whether there are teams
    int64_t shared_bytes = 232448;   // of a block (compute capability 9.0)
    int64_t memory_bytes = 0;        // largest allocation; 0: no limit
    int64_t barriers = 0;            // counted
};

Emulation& emulation();

}  // namespace gpu
}  // namespace dash
