"""Adaptive Runge–Kutta 8(5,3) for many samples at once, each with a step size of its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.integrate import DOP853

from dash_hpc.errors import SolveError, UsageError

__all__ = ["integrate"]

_LANES = 64  # samples that advance together; their stages then stay in the cache
_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 10.0
_MAX_STEPS = 100_000


def integrate(
    derivative: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    times: np.ndarray,
    *,
    rtol: float = 1e-9,
    atol: float = 1e-9,
) -> np.ndarray:
    """Solve dx/dt = f(x) from ``times[0]`` to every later time (Dormand–Prince 8(5,3), Hairer et al. 1993).

    The error of a step is the largest over the genes, and each sample has its own step size, so that a sample's
    result does not depend, to the last bit, on which others are solved with it.

    Parameters
    ----------
    derivative : callable
        (G, S) float64 -> (G, S) float64, element-wise along S.
    start : ndarray, float64, (S, G)
        States at ``times[0]``.
    times : ndarray, float64, (T,)
        Strictly increasing.
    rtol, atol : float, default 1e-9
        Tolerances of one step.

    Returns
    -------
    ndarray, float64, (S, T, G)
        ``[:, 0]`` equals ``start``.

    Raises
    ------
    SolveError
        A state stops being finite, or needs more than 100,000 steps between two times.
    UsageError
        ``times`` are not increasing, or ``start`` has not two dimensions.
    """
    start = np.asarray(start, dtype=np.float64)
    times = np.asarray(times, dtype=np.float64)
    if start.ndim != 2:
        raise UsageError(f"start has shape {start.shape}; expected (samples, genes)")
    if times.ndim != 1 or len(times) < 1 or not np.all(np.isfinite(times)) or np.any(np.diff(times) <= 0):
        raise UsageError("times must be finite and strictly increasing")
    result = np.empty((start.shape[0], len(times), start.shape[1]))
    result[:, 0] = start
    for first in range(0, start.shape[0], _LANES):
        block = slice(first, min(first + _LANES, start.shape[0]))
        x = np.ascontiguousarray(start[block].T)
        step = np.full(x.shape[1], 0.01 * (times[-1] - times[0]))
        for point in range(1, len(times)):
            x = _advance(derivative, x, float(times[point] - times[point - 1]), step, rtol, atol, first)
            result[block, point] = x.T
    return result


def _advance(
    derivative: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    span: float,
    step: np.ndarray,
    rtol: float,
    atol: float,
    first: int,
) -> np.ndarray:
    """States after ``span``; ``step`` (S,) is the proposed step of each sample, updated in place."""
    final = np.empty_like(x)
    lanes = np.arange(x.shape[1])
    left = np.full(x.shape[1], span)
    slope = derivative(x)
    for _ in range(_MAX_STEPS):
        h = np.minimum(step[lanes], left)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is caught right below
            new, new_slope, error = _try_step(derivative, x, slope, h, rtol, atol)
        finite = np.isfinite(error)
        if not finite.all() and np.any(h[~finite] < 1e-12 * span):
            raise SolveError(f"sample {first + lanes[np.argmin(finite)]}: the state is not finite; check the kinetics")
        with np.errstate(divide="ignore"):
            factor = np.clip(_SAFETY * np.power(error, -1.0 / 8.0), _SHRINK, _GROW)
        factor = np.where(finite, factor, _SHRINK)
        accepted = finite & (error < 1.0)
        # A step cut short by a time stamp says nothing against the longer one that was proposed.
        proposal = h * factor
        step[lanes] = np.where(accepted, np.maximum(proposal, np.where(h < step[lanes], step[lanes], 0.0)), proposal)
        x = np.where(accepted, new, x)
        slope = np.where(accepted, new_slope, slope)
        arrived = accepted & (h >= left)
        left = np.where(accepted, left - h, left)
        if arrived.any():
            final[:, lanes[arrived]] = x[:, arrived]
            keep = ~arrived
            if not keep.any():
                return final
            lanes, left = lanes[keep], left[keep]
            x, slope = np.ascontiguousarray(x[:, keep]), np.ascontiguousarray(slope[:, keep])
    raise SolveError(f"sample {first + lanes[0]}: more than {_MAX_STEPS} steps between two times; check the kinetics")


def _try_step(
    derivative: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    slope: np.ndarray,
    h: np.ndarray,
    rtol: float,
    atol: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One step of every sample: new state, its slope, and the error relative to the tolerance (S,)."""
    stages = [slope]
    for row in range(1, DOP853.n_stages):
        stages.append(derivative(x + h * _combine(DOP853.A[row, :row], stages)))
    new = x + h * _combine(DOP853.B, stages)
    stages.append(derivative(new))
    scale = atol + rtol * np.maximum(np.abs(x), np.abs(new))
    fifth = np.square(_combine(DOP853.E5, stages) / scale)
    third = np.square(_combine(DOP853.E3, stages) / scale)
    size = fifth + 0.01 * third
    # Hairer's combined estimate err5² / sqrt(err5² + 0.01 err3²), per gene; 0/0 means no error.
    error = fifth / np.sqrt(np.where(size > 0, size, 1.0))
    return new, stages[-1], h * error.max(axis=0)


def _combine(weights: np.ndarray, stages: list[np.ndarray]) -> np.ndarray:
    """Σ weight · stage in a fixed order (a matrix product's order depends on its size)."""
    total = np.zeros_like(stages[0])
    part = np.empty_like(total)
    for weight, stage in zip(weights, stages, strict=True):
        if weight:
            total += np.multiply(stage, weight, out=part)
    return total
