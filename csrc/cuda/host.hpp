// What the host says about launches, and is told of them.
#pragma once
#include "device.hpp"

namespace dash {
namespace gpu {

// Choices of a launch; 0: as the device suggests. Results do not depend on shared_bytes and state_limit (docs/gpu.md).
struct Choices {
    double compress_below;  // share of active entries below which a matrix is compressed
    int64_t shared_bytes;   // most shared memory of a block
    int64_t state_limit;    // first try: iterations beyond the tape's capacity of which states are kept
    int team;               // models that all blocks work on together: -1 large ones, 0 none, 1 all
};

// Seconds of the calls since the last one of take_timings: work on the host, transfers, kernels.
struct Timings {
    double host, transfer, kernel;
};
Timings take_timings();

void release_memory();  // that is kept from call to call

}  // namespace gpu
}  // namespace dash
