// How an operator of the CPU is registered: its file in ops/ is compiled once per instruction set, and dash::run(args)
// (dispatch.hpp) calls the one of the level that was chosen.
#pragma once
#include "../core/types.hpp"

#ifndef DASH_ISA
#define DASH_ISA baseline
#endif

namespace dash {
namespace DASH_ISA {

template <class Args>
void execute(Args& args);

}  // namespace DASH_ISA
}  // namespace dash

// Both inside namespace dash::DASH_ISA. function(Args<T>&) for float and double:
#define DASH_OPERATOR(Args, function)                                \
    template <>                                                      \
    void execute(Args<float>& args) {                                \
        function(args);                                              \
    }                                                                \
    template <>                                                      \
    void execute(Args<double>& args) {                               \
        function(args);                                              \
    }
// function(Args&), whose arguments have one type:
#define DASH_OPERATOR_OF(Args, function) \
    template <>                          \
    void execute(Args& args) {           \
        function(args);                  \
    }
