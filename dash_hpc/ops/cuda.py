"""The operators on an NVIDIA GPU: many runs in one launch, a run to a multiprocessor. Their CPU twins define them."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from dash_hpc.errors import GpuFault, GpuMemoryError, GpuUnavailable, NativeError, RunFailed, UsageError
from dash_hpc.ops.events import BranchScores, ScoreTask, Selection, SelectTask, score_together
from dash_hpc.ops.gradients import BatchGradients, GradientTask, batch_gradients, checked_gradient_tasks
from dash_hpc.ops.least_squares import PriorTerms, PriorTermsTask, terms_from
from dash_hpc.ops.phoenix import TENSORS
from dash_hpc.ops.select import checked_selection
from dash_hpc.ops.solver import SolverOptions, SolveTask, checked_intervals
from dash_hpc.ops.state import STATUS_REASONS, EpochResult, Solution, native_form
from dash_hpc.ops.train import EpochTask, checked_tasks

__all__ = ["Gpu", "choose_device", "gpu_info", "open_gpu", "parse_device"]

#: Share of active entries below which a matrix is compressed: from counted operations (docs/gpu.md), not measured.
COMPRESS_BELOW = 0.12
#: Most threads of the host that put scores together, as many as pack a launch (csrc/cuda/parallel.hpp).
_MIXING_THREADS = 8
_MESSAGES = {
    "driver": "{} (install or update the driver, or use the CPU)",
    "device": "{} (see CUDA_VISIBLE_DEVICES and nvidia-smi, or use the CPU)",
    "architecture": "{} (build again with DASH_HPC_CUDA_ARCHS naming it, or use the CPU)",
    "memory": "out of memory on the GPU: {} (pack fewer runs, or use the CPU)",
    "fault": "the GPU failed: {} (start again; if it stays, run `make gpu-check` and report it)",
}
_CLASSES: dict[str, type[NativeError]] = {"memory": GpuMemoryError, "fault": GpuFault}


@dataclass(frozen=True)
class Gpu:
    """One device and how it is used; make it with :func:`open_gpu`.

    Attributes
    ----------
    index : int
        Number of the device among those that CUDA_VISIBLE_DEVICES leaves.
    compress_below : float
        Share of active entries below which a matrix is compressed. Last bits depend on it, nothing else.
    shared_bytes, state_limit : int
        Shared memory of a block and the first size of its tape; 0 as the device suggests. Bits do not depend on them.
    team : bool or None
        Whether all multiprocessors work on one run together: None (the default) for models too large for one of them
        (docs/gpu.md), True for all, False for none. Last bits depend on it. Where a device cannot, none.
    """

    module: ModuleType
    index: int = 0
    compress_below: float = COMPRESS_BELOW
    shared_bytes: int = 0
    state_limit: int = 0
    team: bool | None = None

    def train_many(self, tasks: Sequence[EpochTask]) -> list[EpochResult]:
        """Train one epoch of each of many runs in one launch; like :func:`dash_hpc.ops.train_many`.

        Each run has the bits that it has alone, whatever the pack, and the same ones every time.

        Raises
        ------
        UsageError
            Before any run is touched, when a task is wrong or float32 and float64 are mixed.
        GpuUnavailable, GpuMemoryError, GpuFault
            No state has been changed then.
        """
        checked = checked_tasks(tasks)
        _one_dtype([task.state.weights for task in checked])
        forms: list[dict[str, Any]] = []
        for task in checked:
            state = task.state
            forms.append(
                {
                    "weights": native_form(state.weights), "moment1": state.moment1, "moment2": state.moment2,
                    "masks": state.masks, "step": state.step, "y0": task.y0, "y1": task.y1, "dt": task.dt,
                    "batch_ptr": task.batch_ptr, "batch_index": task.batch_index,
                    "lr": [float(task.lr[name]) for name in TENSORS],
                    "beta1": float(task.betas[0]), "beta2": float(task.betas[1]), "eps": float(task.eps),
                    "solver": SolverOptions.of(task.solver).as_dict(), "tau": float(task.tau),
                    "prior": task.prior.native_form if task.prior is not None and task.tau < 1.0 else None,
                    "loss": np.full(len(task.batch_ptr) - 1, np.nan),
                }
            )  # fmt: skip
        found = self.call("train_many", forms, self._choices())
        results = []
        for task, form, (step, evaluations, status) in zip(checked, forms, found, strict=True):
            task.state.step = step
            reason = STATUS_REASONS[status] if status else None
            results.append(EpochResult(form["loss"], int(evaluations), int(status), reason))
        return results

    def gradients_many(self, tasks: Sequence[GradientTask]) -> list[BatchGradients]:
        """Loss and gradients of a batch of each of many runs in one launch; like :func:`dash_hpc.ops.gradients_many`.

        They are those of :meth:`train_many`, bit for bit. ``widest`` plays no part.

        Raises
        ------
        UsageError
            When a task is wrong or float32 and float64 are mixed.
        GpuUnavailable, GpuMemoryError, GpuFault
        """
        checked = checked_gradient_tasks(tasks)
        _one_dtype([task.weights for task in checked])
        forms = [
            {
                "weights": native_form(task.weights), "masks": dict(task.masks), "y0": task.y0, "y1": task.y1,
                "dt": task.dt, "index": task.index, "solver": SolverOptions.of(task.solver).as_dict(), "tau": task.tau,
                "prior": task.prior.native_form if task.prior is not None and task.tau < 1.0 else None,
            }
            for task in checked
        ]  # fmt: skip
        found = self.call("gradients_many", forms, self._choices())
        return [batch_gradients(task, *parts) for task, parts in zip(checked, found, strict=True)]

    def solve_many(self, tasks: Sequence[SolveTask]) -> list[Solution]:
        """Solve many models' intervals in one launch; like :func:`dash_hpc.ops.solve_many`.

        Raises
        ------
        UsageError
            When a task is wrong or float32 and float64 are mixed.
        GpuUnavailable, GpuMemoryError, GpuFault
        """
        return self.solve_masked(tasks, [{}] * len(tasks))

    def solve_masked(self, tasks: Sequence[SolveTask], masks: Sequence[Mapping[str, np.ndarray]]) -> list[Solution]:
        """Do what :meth:`solve_many` does with masks for each task, as :func:`dash_hpc.ops.solve_arrays` takes them."""
        _one_dtype([task.weights for task in tasks])
        forms = []
        for task, own in zip(tasks, masks, strict=True):
            y0, dt = checked_intervals(task.weights, task.y0, task.dt)
            solver = SolverOptions.of(task.solver).as_dict()
            forms.append(
                {"weights": native_form(task.weights), "masks": dict(own), "y0": y0, "dt": dt, "solver": solver}
            )
        return [Solution(*parts) for parts in self.call("solve_many", forms, self._choices())]

    def solve_backward(
        self, weights: Mapping[str, Any], y0: np.ndarray, step_sizes: np.ndarray, grad: np.ndarray, method: str
    ) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
        """Gradients of <grad, y1> over recorded steps, for y0 (B, G) and the seven tensors (every entry).

        The third result (B,) is the longest step that each sample's gradient needs, infinity where it is right.
        """
        y0, _ = checked_intervals(weights, y0, np.zeros(len(y0)))
        grad = np.ascontiguousarray(grad, dtype=y0.dtype)
        sizes = np.ascontiguousarray(step_sizes, dtype=np.float64)
        if grad.shape != y0.shape or sizes.ndim != 2 or len(sizes) != len(y0):
            raise UsageError(f"solve_backward: grad must be {list(y0.shape)}, step_sizes [{len(y0)}, n]")
        return self.call("solve_backward", native_form(weights), y0, sizes, grad, method, self._choices())

    def prior_terms_many(self, tasks: Sequence[PriorTermsTask]) -> list[PriorTerms | RunFailed]:
        """Solve for many runs in one launch, a block to a task; each like :func:`dash_hpc.ops.prior_terms`.

        Each has the bits that it has alone; they differ from the CPU's in the last digits. What the normal equations do
        not serve is done on the CPU and has its bits, its condition number or its error. Matrices that tasks have in
        common (the same objects) are sent once.

        Raises
        ------
        UsageError
            Before anything is computed, when a task is wrong.
        GpuUnavailable, GpuMemoryError, GpuFault
        """
        return terms_from(tasks, lambda forms: self.call("prior_terms_many", forms, self._choices()))

    def score_many(self, tasks: Sequence[ScoreTask]) -> list[BranchScores | RunFailed]:
        """Score many runs, with their least squares in one launch a layer; like :func:`dash_hpc.ops.score_many`.

        float64 throughout, whatever the weights' dtype. Each run has the bits that it has alone; they differ from the
        CPU's as those of :meth:`prior_terms_many` do.

        Raises
        ------
        UsageError
            Before anything is computed, when a task is wrong.
        GpuUnavailable, GpuMemoryError, GpuFault
        """
        return score_together(tasks, self.prior_terms_many, min(_MIXING_THREADS, os.cpu_count() or 1))

    def select_many(self, tasks: Sequence[SelectTask]) -> list[Selection | RunFailed]:
        """Select for many runs in one launch, a block to a tensor; like :func:`dash_hpc.ops.select_many`.

        For equal scores the masks are those of the CPU, ties included.

        Raises
        ------
        UsageError
            Before anything is computed, when a task is wrong.
        GpuUnavailable, GpuMemoryError, GpuFault
        """
        results: list[Selection | RunFailed] = []
        forms: list[tuple[np.ndarray, np.ndarray, int]] = []
        places: list[tuple[Selection, str]] = []
        for task in tasks:
            chosen: Selection = {}
            tensors = []
            try:
                for name, score in task.scores.items():
                    n = int(task.counts[name])
                    wide, mask = checked_selection(score, task.masks[name], n)
                    chosen[name] = mask, float("nan")
                    if n:
                        tensors.append((name, (wide, mask, n)))
            except RunFailed as error:
                results.append(error)
                continue
            results.append(chosen)
            places += [(chosen, name) for name, _ in tensors]
            forms += [form for _, form in tensors]
        for (chosen, name), threshold in zip(places, self.call("select_many", forms), strict=True):
            chosen[name] = chosen[name][0], threshold
        return results

    def facts(self) -> dict[str, Any]:
        """Name, capability, multiprocessors, memory in bytes and versions of the device."""
        return dict(self.call("facts"))

    def kernels(self) -> dict[str, Any]:
        """Registers, shared and local memory of each kernel as loaded."""
        return dict(self.call("kernels"))

    def take_timings(self) -> dict[str, float]:
        """Seconds since the last call of this: ``host`` (arranging and taking back), ``transfer``, ``kernel``."""
        return dict(self.call("take_timings"))

    def release_memory(self) -> None:
        """Give back the device memory that is kept from call to call."""
        self.call("release_memory")

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function of the module on this device; what an operator's own file does with checked arguments.

        Raises
        ------
        UsageError, MemoryError
            As the function does.
        GpuUnavailable, GpuMemoryError, GpuFault
        """
        try:
            _use(self.module, self.index)
            return getattr(self.module, name)(*arguments)
        except self.module.DeviceError as error:
            raise _named(error) from None

    def _choices(self) -> dict[str, Any]:
        return {
            "compress_below": float(self.compress_below),
            "shared_bytes": int(self.shared_bytes),
            "state_limit": int(self.state_limit),
            "team": -1 if self.team is None else int(self.team),
        }


def open_gpu(index: int = 0) -> Gpu:
    """Return the GPU with this number, ready for use.

    Raises
    ------
    GpuUnavailable
        When this installation has no CUDA module, there is no driver or it is too old, no such device, or the build has
        no code for it.
    """
    module = cuda_module()
    if module is None:
        raise GpuUnavailable(
            "this installation has no CUDA module: build it where nvcc is (DASH_HPC_CUDA=1), or use the CPU"
        )
    gpu = Gpu(module, index)
    gpu.facts()
    return gpu


def choose_device(wish: str) -> tuple[Gpu | None, str]:
    """Return the GPU that was asked for, or None for the CPU, and one line that says so.

    Parameters
    ----------
    wish : str
        "cpu"; "cuda" or "cuda:1" (an error when it cannot be used); "auto": the first GPU, or the CPU and why.

    Raises
    ------
    UsageError
        When ``wish`` is something else.
    GpuUnavailable, GpuMemoryError, GpuFault
        When a GPU was asked for by name and cannot be used.
    """
    kind, index = parse_device(wish)
    if kind == "cpu":
        return None, "CPU"
    try:
        gpu = open_gpu(index)
        return gpu, f"GPU {gpu.index}: {gpu.facts()['name']}"
    except NativeError as error:
        if kind != "auto":
            raise
        return None, f"CPU, because {error}"


def parse_device(wish: str) -> tuple[str, int]:
    """Read a device's name: ("cpu" | "cuda" | "auto", number of the GPU).

    Raises
    ------
    UsageError
        When it is something else.
    """
    match = re.fullmatch(r"cpu|auto|cuda(?::([0-9]{1,4}))?", wish)
    if match is None:
        raise UsageError(f'device must be "cpu", "cuda", "cuda:<number>" or "auto", got {wish!r}')
    return wish.partition(":")[0], int(match[1] or 0)


def gpu_info() -> dict[str, Any]:
    """What this process could use: ``{"built": bool, "architectures": str, "devices": [facts], "problem": str}``."""
    module = cuda_module()
    if module is None:
        return {"built": False, "architectures": "", "devices": [], "problem": "no CUDA module was built"}
    info: dict[str, Any] = {
        "built": True,
        "architectures": getattr(module, "architectures", ""),
        "devices": [],
        "problem": "",
    }
    try:
        for index in range(module.device_count()):
            info["devices"].append(Gpu(module, index).facts())
    except module.DeviceError as error:
        info["problem"] = str(_named(error))
    except NativeError as error:
        info["problem"] = str(error)
    return info


def cuda_module() -> ModuleType | None:
    """Return ``dash_hpc._native_cuda``, or None when it was not built or ``DASH_HPC_NATIVE=0``.

    With ``DASH_HPC_CUDA_EMULATION=1`` it is the emulation of the kernels on the CPU, which tests use: slow.
    """
    if os.environ.get("DASH_HPC_NATIVE", "1") == "0":
        return None
    if os.environ.get("DASH_HPC_CUDA_EMULATION") == "1":
        try:
            return import_module("dash_hpc._cuda_emulation")
        except ImportError:
            return None
    try:
        from dash_hpc import _native_cuda
    except ImportError as error:
        if "_native_cuda" in str(error) and "cannot import name" in str(error):
            return None
        raise GpuUnavailable(f"the CUDA module cannot be loaded: {error}; reinstall dash-hpc") from error
    return _native_cuda


_chosen = threading.local()


def _use(module: ModuleType, index: int) -> None:
    """Choose the device for this thread, once."""
    if getattr(_chosen, "device", None) != (module.__name__, index):
        module.use_device(index)
        _chosen.device = (module.__name__, index)


def _named(error: Exception) -> NativeError:
    kind, text = error.args
    return _CLASSES.get(kind, GpuUnavailable)(_MESSAGES[kind].format(text))


def _one_dtype(weights: Sequence[Mapping[str, Any]]) -> None:
    if len({str(tensors["v"].dtype) for tensors in weights}) > 1:
        raise UsageError("a pack holds either float32 or float64 models; pack them apart")
