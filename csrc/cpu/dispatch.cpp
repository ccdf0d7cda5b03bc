#include "dispatch.hpp"

namespace dash {

namespace baseline { extern const Operators operators; }
#ifdef DASH_WITH_X86_LEVELS
namespace avx2 { extern const Operators operators; }
namespace avx512 { extern const Operators operators; }
#endif

static std::vector<const Operators*> built() {
    std::vector<const Operators*> levels{&baseline::operators};
#ifdef DASH_WITH_X86_LEVELS
    levels.push_back(&avx2::operators);
    levels.push_back(&avx512::operators);
#endif
    return levels;
}

static bool runs_here(const std::string& name) {
#ifdef DASH_WITH_X86_LEVELS
    if (name == "avx2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (name == "avx512")
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
#endif
    return name == "baseline";
}

static const Operators*& chosen() {
    static const Operators* level = [] {
        const Operators* best = nullptr;
        for (const Operators* candidate : built())
            if (runs_here(candidate->isa)) best = candidate;
        return best;
    }();
    return level;
}

const Operators& operators() { return *chosen(); }

std::vector<std::string> built_levels() {
    std::vector<std::string> names;
    for (const Operators* level : built()) names.emplace_back(level->isa);
    return names;
}

std::vector<std::string> runnable_levels() {
    std::vector<std::string> names;
    for (const std::string& name : built_levels())
        if (runs_here(name)) names.push_back(name);
    return names;
}

bool choose_level(const std::string& name) {
    for (const Operators* level : built())
        if (name == level->isa && runs_here(name)) {
            chosen() = level;
            return true;
        }
    return false;
}

}  // namespace dash
