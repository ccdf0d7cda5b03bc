#include "dispatch.hpp"

namespace dash {

static const char* const kNames[] = {"baseline", "avx2", "avx512"};
#ifdef DASH_WITH_X86_LEVELS
static constexpr int kBuilt = 3;
#else
static constexpr int kBuilt = 1;
#endif

static bool runs_here(Level level) {
#ifdef DASH_WITH_X86_LEVELS
    if (level == Level::avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (level == Level::avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
#endif
    return level == Level::baseline;
}

static Level& chosen() {
    static Level level = [] {
        Level best = Level::baseline;
        for (int i = 0; i < kBuilt; ++i)
            if (runs_here(Level(i))) best = Level(i);
        return best;
    }();
    return level;
}

Level level() { return chosen(); }

std::string level_name() { return kNames[int(chosen())]; }

std::vector<std::string> built_levels() { return {kNames, kNames + kBuilt}; }

std::vector<std::string> runnable_levels() {
    std::vector<std::string> names;
    for (int i = 0; i < kBuilt; ++i)
        if (runs_here(Level(i))) names.emplace_back(kNames[i]);
    return names;
}

bool choose_level(const std::string& name) {
    for (int i = 0; i < kBuilt; ++i)
        if (name == kNames[i] && runs_here(Level(i))) {
            chosen() = Level(i);
            return true;
        }
    return false;
}

}  // namespace dash
