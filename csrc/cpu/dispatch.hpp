// Choice of the instruction set at run time.
#pragma once
#include <string>
#include <vector>

#include "../core/types.hpp"

namespace dash {

const Operators& operators();                 // the chosen level
std::vector<std::string> built_levels();      // lowest first
std::vector<std::string> runnable_levels();   // those that this processor can run
bool choose_level(const std::string& name);   // false when it is not runnable

}  // namespace dash
