// null: copy an array. It does nothing that is needed; a new operator begins as a copy of it.
#include "../../core/null.hpp"

#include <cstring>

#include "../operators.hpp"

namespace dash {
namespace DASH_ISA {

template <class T>
static void null_any(NullArgs<T>& args) {
    if (args.size) std::memcpy(args.to, args.from, args.size * sizeof(T));
}

DASH_OPERATOR(NullArgs, null_any)

}  // namespace DASH_ISA
}  // namespace dash
