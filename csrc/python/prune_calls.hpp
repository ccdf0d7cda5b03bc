// One call of prior_terms, for the bindings of every module: the arguments from Python's objects, checked, and new arrays
// for what comes out.
#pragma once
#include "arguments.hpp"

namespace dash {
namespace arguments {

class PriorTermsCall {
  public:
    PriorTermsArgs args{};

    PriorTermsCall(Arrays& arrays, const py::object& S, const py::object& C, const py::object& P,
                   const py::object& ridge) {
        args.m = length_of(S, "S", 0, 2), args.G = length_of(S, "S", 1, 2);
        check_model(args.G, args.m);
        args.S = arrays.read<double>(S, {args.m, args.G}, "S");
        args.ridge = number(ridge, "ridge", 0);
        if (!C.is_none()) {
            const Sparse c = sparse_of(arrays, C, args.G, args.G, "C");
            args.c_ptr = c.csr.ptr, args.c_index = c.csr.index, args.c_value = c.value;
            py::array_t<double> out({args.m, args.G});
            args.first = out.mutable_data();
            first_ = out;
        }
        if (!P.is_none()) {
            const Sparse p = sparse_of(arrays, P, kAny, args.G, "P");
            args.targets = p.csr.rows;
            args.p_ptr = p.csr.ptr, args.p_index = p.csr.index, args.p_value = p.value;
            py::array_t<double> out({args.targets, args.m});
            args.second = out.mutable_data();
            second_ = out;
        }
    }

    // (first or None, second or None, condition, rho, True), with None, None and 0 when Cholesky is not safe; `done`: the
    // arguments after the computation.
    py::tuple results(const PriorTermsArgs& done) const {
        if (!done.ok) return py::make_tuple(py::none(), py::none(), done.condition, 0.0, false);
        return py::make_tuple(first_, second_, done.condition, done.rho, true);
    }

  private:
    struct Sparse {
        Csr<int64_t> csr;
        const double* value;
    };

    static Sparse sparse_of(Arrays& arrays, const py::object& object, int64_t rows, int64_t columns,
                            const std::string& name) {
        const py::tuple parts = tuple_of(object, 3, name, "row pointers, columns, values");
        const Csr<int64_t> csr = csr_of<int64_t>(arrays, parts[0], parts[1], rows, columns, false, name);
        return {csr, arrays.read<double>(parts[2], {csr.entries}, name + " values")};
    }

    py::object first_ = py::none(), second_ = py::none();
};

}  // namespace arguments
}  // namespace dash
