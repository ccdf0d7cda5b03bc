// prior_terms_many of the modules: score matrices in, terms out.
#include "prior_terms.hpp"

#include <deque>

#include "../../python/prune_calls.hpp"
#include "../bindings.hpp"
#include "../launches.hpp"

namespace dash {
namespace gpu {

namespace {

using namespace arguments;

// C by columns; tasks that have the same C share it.
struct Transposed {
    std::vector<int64_t> ptr, index;
    std::vector<double> value;

    explicit Transposed(const PriorTermsArgs& args) {
        const int64_t G = args.G, entries = args.c_ptr[G];
        ptr.assign(G + 1, 0), index.resize(entries), value.resize(entries);
        for (int64_t e = 0; e < entries; ++e) ++ptr[args.c_index[e] + 1];
        for (int64_t g = 0; g < G; ++g) ptr[g + 1] += ptr[g];
        std::vector<int64_t> next(ptr.begin(), ptr.end());
        for (int64_t row = 0; row < G; ++row)
            for (int64_t e = args.c_ptr[row]; e < args.c_ptr[row + 1]; ++e) {
                const int64_t to = next[args.c_index[e]]++;
                index[to] = row, value[to] = args.c_value[e];
            }
    }
};

PriorTermsView put(PriorTermsArgs& host, const std::map<const void*, Transposed>& by_columns, Arena& state, Arena& fixed,
                   std::map<const void*, const void*>& known) {
    PriorTermsView view{host, nullptr};
    PriorTermsArgs& args = view.args;
    double* numbers;
    PriorTermsOutcome* outcome;
    args.S = fixed.put(args.S, args.m * args.G);
    view.outcome = state.room(1, &outcome);
    if (args.c_ptr) {
        const Transposed& C = by_columns.at(args.c_ptr);
        args.c_ptr = fixed.put_once(C.ptr.data(), args.G + 1, known);
        args.c_index = fixed.put_once(C.index.data(), static_cast<int64_t>(C.index.size()), known);
        args.c_value = fixed.put_once(C.value.data(), static_cast<int64_t>(C.value.size()), known);
        args.first = state.room(args.m * args.G, &numbers);
    }
    if (args.p_ptr) {
        const int64_t entries = args.p_ptr[args.targets];
        args.p_ptr = fixed.put_once(args.p_ptr, args.targets + 1, known);
        args.p_index = fixed.put_once(args.p_index, entries, known);
        args.p_value = fixed.put_once(args.p_value, entries, known);
        args.second = state.room(args.targets * args.m, &numbers);
    }
    return view;
}

void take(PriorTermsArgs& host, const PriorTermsView& view, Arena& state) {
    const PriorTermsOutcome& outcome = *state.on_host(view.outcome);
    host.condition = outcome.condition, host.rho = outcome.rho, host.ok = outcome.ok;
    if (host.c_ptr) std::copy_n(state.on_host(view.args.first), host.m * host.G, host.first);
    if (host.p_ptr) std::copy_n(state.on_host(view.args.second), host.targets * host.m, host.second);
}

void solve(std::vector<PriorTermsArgs>& tasks, int64_t shared_bytes) {
    std::map<const void*, Transposed> by_columns;
    for (const PriorTermsArgs& args : tasks)
        if (args.c_ptr) by_columns.try_emplace(args.c_ptr, args);
    const int64_t shared = shared_bytes ? shared_bytes : shared_limit(kernel_of<PriorTermsView>());
    in_launches<PriorTermsView>(
        tasks, false,
        [&](PriorTermsArgs& args, Arena& state, Arena& fixed, std::map<const void*, const void*>& known) {
            return put(args, by_columns, state, fixed, known);
        },
        &take,
        [shared](const PriorTermsArgs& args) {
            constexpr int64_t kOwn = 4096;  // each block's own; two stand side by side
            PriorTermsContext context;
            const Needs found =
                place_prior_terms(context, args, nullptr, std::max<int64_t>(shared / 2 - kOwn, 0), nullptr);
            return Need{found.shared_bytes, found.global_bytes, args.m * args.m * args.G, Worker::kSmall};
        });
}

// tasks: (S, C, P, ridge). For each (first, second, condition, rho, whether it served), as prior_terms of the CPU.
py::list prior_terms_many(const py::object& given, const py::object& choices) {
    return guarded("prior_terms_many", [&](Extent& extent) {
        const int64_t shared =
            integer(member(dictionary(choices, "choices"), "shared_bytes"), "shared_bytes", 0, INT32_MAX);
        Arrays arrays;
        std::deque<PriorTermsCall> calls;
        std::vector<PriorTermsArgs> tasks;
        for (const auto& item : list_of(given, "tasks")) {
            const py::tuple task = tuple_of(item, 4, "task", "S, C, P, ridge");
            calls.emplace_back(arrays, task[0], task[1], task[2], task[3]);
            const PriorTermsArgs& args = calls.back().args;
            extent = {args.G, args.m, int64_t(calls.size())};
            if (args.m > 32768 || std::max(args.G, args.targets) > kMostEntries / args.m)
                throw ArgumentError("a score matrix on the GPU has at most 32768 rows, and 2^30 entries");
            tasks.push_back(args);
        }
        alone([&] { solve(tasks, shared); });
        py::list out;
        for (size_t k = 0; k < tasks.size(); ++k) out.append(calls[k].results(tasks[k]));
        return out;
    });
}

const Bind bind([](py::module_& module) {
    module.def("prior_terms_many", &prior_terms_many, py::arg("tasks"), py::arg("choices"));
});

}  // namespace

}  // namespace gpu
}  // namespace dash
