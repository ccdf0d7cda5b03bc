// Arguments of the null operator: the one to copy when a new operator is begun (docs/extend/operator.md).
#pragma once
#include <cstdint>

namespace dash {

template <class T>
struct NullArgs {
    int64_t size;
    const T* from;  // [size]
    T* to;          // [size] out
};

}  // namespace dash
