// Ways to end a long call of Python: a signal whose handler raises (Ctrl-C), and a token that another thread sets. For
// the operators of the CPU; a launch on a GPU runs to its end.
#pragma once
#include <pybind11/pybind11.h>

#include <atomic>
#include <chrono>

#include "../core/types.hpp"

namespace dash {

class StopToken {
  public:
    void set() { set_.store(true, std::memory_order_relaxed); }
    bool is_set() const { return set_.load(std::memory_order_relaxed); }

  private:
    std::atomic<bool> set_{false};
};

// Made with the interpreter's lock, asked without it. Python runs handlers of signals in its main thread only, so that
// only there the lock is taken, at most every kPause.
class Interruptible final : public Watch {
  public:
    explicit Interruptible(const StopToken* token)
        : token_(token),
          main_(PyThread_get_thread_ident() ==
                pybind11::module_::import("threading").attr("main_thread")().attr("ident").cast<unsigned long>()),
          last_(Clock::now()) {}

  protected:
    void look() override {
        if (token_ && token_->is_set()) throw Stopped{};
        if (!main_ || Clock::now() - last_ < kPause) return;
        const pybind11::gil_scoped_acquire acquire;
        if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
        last_ = Clock::now();
    }

  private:
    typedef std::chrono::steady_clock Clock;
    static constexpr std::chrono::milliseconds kPause{50};

    const StopToken* token_;
    bool main_;
    Clock::time_point last_;
};

}  // namespace dash
