"""Solver options, checked once, and the NumPy form of solve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dash_hpc.errors import UsageError
from dash_hpc.ops.native import native_module
from dash_hpc.ops.state import Solution, Tensors, check_weights, native_form

__all__ = ["METHODS", "SolveJob", "SolverOptions", "solve_arrays", "solve_pack"]

#: Methods of integration; the tableaus are in `METHODS` and csrc/core/tableau.hpp.
METHODS = ("dopri5", "rk4")


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
        Limit on accepted plus rejected steps per sample.
    """

    method: str = "dopri5"
    rtol: float = 1e-5
    atol: float = 1e-7
    step: float = 0.125
    max_steps: int = 10_000

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"solver method must be one of {', '.join(METHODS)}, got {self.method!r}")
        for name in ("rtol", "atol", "step", "max_steps"):
            if not getattr(self, name) > 0:
                raise UsageError(f"solver {name} must be positive, got {getattr(self, name)!r}")

    @classmethod
    def of(cls, solver: Mapping[str, Any] | SolverOptions) -> SolverOptions:
        """Accept options as a mapping (from a study, where ``step`` may be "auto": the default) or as they are."""
        if isinstance(solver, SolverOptions):
            return solver
        given = {key: value for key, value in solver.items() if (key, value) != ("step", "auto")}
        try:
            return cls(**given)
        except TypeError:
            legal = ", ".join(f"{name}={value!r}" for name, value in asdict(cls()).items())
            unknown = sorted(set(solver) - set(asdict(cls())))
            raise UsageError(f"unknown solver option {unknown}; the options are {legal}") from None

    def as_dict(self) -> dict[str, Any]:
        """Keyword arguments for the reference and the native module."""
        return asdict(self)


def checked_intervals(weights: Tensors, y0: np.ndarray, dt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start states in the weights' dtype and intervals as float64; UsageError when shapes do not fit."""
    G, _ = check_weights(weights)
    y0 = np.ascontiguousarray(y0, dtype=weights["v"].dtype)
    dt = np.ascontiguousarray(dt, dtype=np.float64)
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
    """
    options = SolverOptions.of(solver)
    y0, dt = checked_intervals(weights, y0, dt)
    native = native_module()
    if native is not None:
        return Solution(*native.solve(native_form(weights), dict(masks or {}), y0, dt, **options.as_dict()))
    import torch

    from dash_hpc.ops import reference
    from dash_hpc.ops.dense import dense_tensors

    run = reference.integrate(dense_tensors(weights), torch.from_numpy(y0), torch.from_numpy(dt), **options.as_dict())
    return Solution(*(tensor.numpy() for tensor in run))


@dataclass(frozen=True)
class SolveJob:
    """One call of :func:`solve_arrays` without masks."""

    weights: Tensors
    y0: np.ndarray
    dt: np.ndarray
    solver: Mapping[str, Any] | SolverOptions = SolverOptions()


def solve_pack(jobs: Sequence[SolveJob], *, threads: int = 1) -> list[Solution]:
    """Solve many models' intervals, ``threads`` of them at a time; each has the bits that it has alone."""

    def run(job: SolveJob) -> Solution:
        return solve_arrays(job.weights, job.y0, job.dt, solver=job.solver)

    if threads == 1 or len(jobs) < 2:
        return [run(job) for job in jobs]
    with ThreadPoolExecutor(min(threads, len(jobs))) as pool:  # the native solve does not hold the interpreter's lock
        return list(pool.map(run, jobs))
