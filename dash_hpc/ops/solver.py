"""Solver options, checked once, and the NumPy form of solve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dash_hpc.errors import UsageError
from dash_hpc.ops.checks import as_array, as_count, as_mapping, as_number
from dash_hpc.ops.native import native_module
from dash_hpc.ops.phoenix import check_masks, check_weights
from dash_hpc.ops.state import Solution, Tensors, native_form
from dash_hpc.ops.threads import map_in_threads, stop_token

__all__ = ["METHODS", "MOST_STEPS", "SolveTask", "SolverOptions", "solve_arrays", "solve_many"]

#: Methods of integration; the tableaus are in `METHODS` and csrc/core/tableau.hpp.
METHODS = ("dopri5", "rk4")
#: A limit on the limit ``max_steps``; csrc/core/types.hpp has it too. A sample's step sizes then take 80 MB.
MOST_STEPS = 10_000_000


@dataclass(frozen=True)
class SolverOptions:
    """How intervals are integrated.

    Attributes
    ----------
    method : {"dopri5", "rk4"}
        Dormand–Prince 5(4) with a step size per sample, or classical Runge–Kutta with equal steps.
    rtol, atol : float
        dopri5 only: relative and absolute tolerance of the local error (RMS over genes).
    step : float
        rk4 only: largest step, in the unit of time of the intervals.
    max_steps : int
        Limit on accepted plus rejected steps per sample, at most :data:`MOST_STEPS`. rk4 knows before it starts that
        an interval needs more.
    """

    method: str = "dopri5"
    rtol: float = 1e-5
    atol: float = 1e-7
    step: float = 0.125
    max_steps: int = 10_000

    def __post_init__(self) -> None:
        if not isinstance(self.method, str) or self.method not in METHODS:
            raise UsageError(f"solver method must be one of {', '.join(METHODS)}, got {self.method!r}")
        for name in ("rtol", "atol", "step"):
            as_number(getattr(self, name), f"solver {name}", least=0, open_at=(0,))
        as_count(self.max_steps, "solver max_steps", least=1, most=MOST_STEPS)

    @classmethod
    def of(cls, solver: Mapping[str, Any] | SolverOptions) -> SolverOptions:
        """Accept options as a mapping (from a study, where ``step`` may be "auto": the default) or as they are."""
        if isinstance(solver, SolverOptions):
            return solver
        unknown = sorted(str(name) for name in set(as_mapping(solver, "solver")) - set(asdict(cls())))
        if unknown:
            legal = ", ".join(f"{name}={value!r}" for name, value in asdict(cls()).items())
            raise UsageError(f"unknown solver option {unknown}; the options are {legal}")
        return cls(**{name: value for name, value in solver.items() if (name, value) != ("step", "auto")})

    def as_dict(self) -> dict[str, Any]:
        """Keyword arguments for the reference and the native module."""
        return dict(vars(self))


def checked_intervals(weights: Tensors, y0: np.ndarray, dt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start states in the weights' dtype and intervals as float64; UsageError when shapes do not fit."""
    G, _ = check_weights(weights)
    y0 = as_array(y0, weights["v"].dtype, "y0")
    dt = as_array(dt, np.float64, "dt")
    if y0.ndim != 2 or y0.shape[1] != G:
        raise UsageError(f"y0 must be [B, {G}], got {list(y0.shape)}")
    if dt.shape != y0.shape[:1]:
        raise UsageError(f"dt must be [{len(y0)}], got {list(dt.shape)}")
    if not np.isfinite(dt).all() or (dt < 0).any():
        raise UsageError("dt must be finite and 0 or more: intervals run forward in time")
    return y0, dt


def solve_arrays(
    weights: Tensors,
    y0: np.ndarray,
    dt: np.ndarray,
    *,
    solver: Mapping[str, Any] | SolverOptions = SolverOptions(),
    masks: Mapping[str, np.ndarray] | None = None,
) -> Solution:
    """Integrate PHOENIX dynamics from ``y0`` over ``dt``, each sample with its own step sizes.

    Parameters
    ----------
    weights : mapping of ndarray
        The seven tensors (float32 or float64); pruned entries are 0. Matrices may be ``csr_array``.
    y0 : (B, G) array
        Start states, cast to the weights' dtype.
    dt : (B,) array
        Interval lengths, 0 or more; the dynamics are autonomous, so only the length matters.
    solver : SolverOptions or mapping
        See :class:`SolverOptions`.
    masks : mapping of bool ndarray, optional
        Active weights per prunable tensor, in the shape of its values (for a ``csr_array`` those of its ``data``).
        Left out: entries that are exactly 0 are skipped.

    Returns
    -------
    Solution
        A sample that fails has a status other than 0 and its last accepted state; nothing is raised.

    Raises
    ------
    UsageError
        When shapes, intervals or options are wrong.
    MemoryError
        With the size that could not be had.
    KeyboardInterrupt
        Within about 0.1 s of Ctrl-C, in the main thread.
    """
    options = SolverOptions.of(solver)
    y0, dt = checked_intervals(weights, y0, dt)
    masks = masks or {}
    check_masks(weights, masks)
    native = native_module()
    if native is not None:
        return Solution(
            *native.solve(native_form(weights), dict(masks), y0, dt, **options.as_dict(), stop=stop_token())
        )
    import torch

    from dash_hpc.ops import reference
    from dash_hpc.ops.dense import dense_tensors

    run = reference.integrate(dense_tensors(weights), torch.from_numpy(y0), torch.from_numpy(dt), **options.as_dict())
    return Solution(*(tensor.numpy() for tensor in run))


@dataclass(frozen=True)
class SolveTask:
    """One call of :func:`solve_arrays` without masks."""

    weights: Tensors
    y0: np.ndarray
    dt: np.ndarray
    solver: Mapping[str, Any] | SolverOptions = SolverOptions()

    @property
    def dtype(self) -> np.dtype:
        """Precision of the weights."""
        return np.dtype(next(iter(self.weights.values())).dtype)

    def run(self) -> Solution:
        """Return the solution, found on the CPU."""
        return solve_arrays(self.weights, self.y0, self.dt, solver=self.solver)


def solve_many(tasks: Sequence[SolveTask], *, threads: int = 1) -> list[Solution]:
    """Solve many models' intervals, ``threads`` of them at a time; each has the bits that it has alone."""

    return map_in_threads(SolveTask.run, tasks, threads, "solve_many")
