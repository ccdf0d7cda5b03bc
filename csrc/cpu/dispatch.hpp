// Choice of the instruction set at run time.
#pragma once
#include <string>
#include <vector>

#include "../core/types.hpp"

namespace dash {

enum class Level { baseline, avx2, avx512 };

Level level();                                // the chosen one
std::string level_name();
std::vector<std::string> built_levels();      // lowest first
std::vector<std::string> runnable_levels();   // those that this processor can run
bool choose_level(const std::string& name);   // false when it is not runnable

// Defined by the files of ops/, for each level and each kind of arguments.
namespace baseline {
template <class Args>
void execute(Args& args);
}
#ifdef DASH_WITH_X86_LEVELS
namespace avx2 {
template <class Args>
void execute(Args& args);
}
namespace avx512 {
template <class Args>
void execute(Args& args);
}
#endif

// The operator that takes these arguments, at the chosen level.
template <class Args>
void run(Args& args) {
    switch (level()) {
#ifdef DASH_WITH_X86_LEVELS
        case Level::avx512: return avx512::execute(args);
        case Level::avx2: return avx2::execute(args);
#endif
        default: return baseline::execute(args);
    }
}

}  // namespace dash
