// The prior term of the loss: at random states the model should react as the prior network does (dash_hpc.ops.PriorLoss).
// Sixteen states are a tile; activations and the network's response are computed anew for each, which costs little
// beside the products and keeps one array in memory.
#pragma once
#include "adjoint.hpp"

namespace dash {
namespace DASH_ISA {

template <class T>
class PriorSweep {
  public:
    static constexpr int L = 16;

    // Add factor * (gradient of the mean square) to grads; returns the mean square.
    double run(const Model<T>& model, const PriorLossArgs<T>& args, double factor, Gradients<T>& grads) {
        const int64_t rows = padded(model.G), tile = rows * L, size = Slot<T, L>::size(rows, padded(model.m));
        T* p = memory_.zeros(5 * tile);
        y_ = p, rates_ = p + tile, scratch_ = p + 2 * tile, upstream_ = p + 3 * tile, v_bar_ = p + 4 * tile;
        if (args.multipliers)
            model.template rate_tile<L>(rates_);
        else
            for (int64_t i = 0; i < model.G * L; ++i) rates_[i] = T(1);
        T* slots = slots_.zeros(kChunk * size);
        const double scale = 2.0 * factor / (double(args.points) * model.G);
        double total = 0;
        for (int64_t first = 0; first < args.points; first += kChunk * L) {
            int64_t used = 0;
            for (; used < kChunk && first + used * L < args.points; ++used) {
                const int64_t left = args.points - first - used * L;
                const Slot<T, L> slot(slots + used * size, rows, padded(model.m));
                total += one(model, args, first + used * L, left < L ? int(left) : L, scale, slot);
            }
            grads.add(model, Slot<T, L>(slots, rows, padded(model.m)), size, used);
        }
        if (args.multipliers) grads.template add_rates<L>(model, v_bar_);
        return total / (double(args.points) * model.G);
    }

  private:
    static constexpr int64_t kChunk = 4;

    // One tile of n states: forward, and back to the hidden units; returns the sum of squares.
    double one(const Model<T>& model, const PriorLossArgs<T>& args, int64_t first, int n, double scale,
               const Slot<T, L>& slot) {
        const int64_t G = model.G;
        const T* row[L];
        for (int l = 0; l < n; ++l) row[l] = args.states + (first + l) * G;
        load_tile<T, L>(row, n, G, y_);
        model.template rhs<L>(y_, rates_, slot, scratch_);
        std::memset(upstream_, 0, padded(G) * L * sizeof(T));
        double total = 0;
        for (int64_t g = 0; g < G; ++g) {
            double response[L] = {};
            for (int64_t k = args.ptr[g]; k < args.ptr[g + 1]; ++k)
                for (int l = 0; l < L; ++l) response[l] += args.value[k] * double(y_[args.index[k] * L + l]);
            for (int l = 0; l < n; ++l) {
                const int64_t at = g * L + l;
                // the derivative is rate * (c - y); without multipliers the rate is 1 and c itself is compared
                const double miss = double(slot.derivative()[at]) + double(y_[at]) - response[l];
                total += miss * miss;
                upstream_[at] = static_cast<T>(scale * miss);
            }
        }
        model.template reverse_to_hidden<L>(upstream_, rates_, slot, v_bar_);
        return total;
    }

    Buffer<T> memory_, slots_;
    T *y_ = nullptr, *rates_ = nullptr, *scratch_ = nullptr, *upstream_ = nullptr, *v_bar_ = nullptr;
};

}  // namespace DASH_ISA
}  // namespace dash
