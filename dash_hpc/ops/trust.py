"""Whether the discrete adjoint of a solve can be trusted, and shorter steps where it cannot (docs/numerics.md).

The meaning of ``csrc/core/trust.hpp``, for many samples at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dash_hpc.errors import SolveError

__all__ = ["ADJOINT_ERRORS", "TRIES", "AdjointError", "Trust", "shorter_steps"]

#: How often a gradient may be tried again with shorter steps; each try shortens them by 30 % or more.
TRIES = 64
# A sample whose gradient needs more steps than this is refused.
_MOST_STEPS = 1_000_000


@dataclass(frozen=True)
class AdjointError:
    """Estimate of the local error of a method's discrete adjoint.

    Attributes
    ----------
    order : int
    d : tuple of float
        The estimate is the sum of ``d[i]`` times the gradient for the state of stage i. Where the Jacobian J is
        constant it is ``weight`` · (h J)^order times the adjoint; terms of lower order cancel, also with a Jacobian
        that changes: up to h³ for dopri5, h² for rk4.
    weight : float
    ratio : tuple of float
        Of the stability polynomial's coefficients: the k-th to the one before.
    tolerance : float
        Of the error that reaches the start, relative to the gradient: the gradient's error is then at most 1 %.
    reach : float
        Rate times step with which that is met by a mode that decays in a single step.
    """

    order: int
    d: tuple[float, ...]
    weight: float
    ratio: tuple[float, ...]
    tolerance: float
    reach: float


ADJOINT_ERRORS = {
    "dopri5": AdjointError(
        6, (1, 0, -1 / 2, 1, 145 / 81, 5 / 11), 1 / 600, (1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 5), 0.025, 1.3
    ),
    "rk4": AdjointError(4, (1, -1, 0, 1), 1 / 24, (1, 1 / 2, 1 / 3, 1 / 4), 0.05, 0.85),
}

_Numbers = NDArray[np.float64]


class Trust:
    """What the reverse sweep over B samples knows of the error of its own gradients.

    Parameters
    ----------
    method : {"dopri5", "rk4"}
    n : int
        Samples.
    """

    def __init__(self, method: str, n: int) -> None:
        self._method = ADJOINT_ERRORS[method]
        self._integral, self._error, self._rate, self._peak, self._fastest, self._longest = np.zeros((6, n))
        self._finite = np.ones(n, dtype=bool)

    def step(self, h: _Numbers, error: _Numbers, adjoint: _Numbers, integral: _Numbers) -> None:
        """Take in one step, the later ones first: sizes (0: none), and norms, genes times relu(v).

        Of the error estimate, of the adjoint that enters, and of its integral over the step.
        """
        method, taken = self._method, h > 0
        self._longest = np.maximum(self._longest, h)
        self._finite &= np.isfinite(error + adjoint + integral) | ~taken
        on = taken & self._finite
        with np.errstate(all="ignore"):
            # what the error itself adds to the integral, the error of the next step takes away
            added = np.where(self._error > 0, integral - self._error / self._rate, integral)
            self._integral += np.where(on, np.maximum(added, 0.0), 0.0)
            carried = np.where(on, self._error * self._decay(self._rate * h), self._error)
            counts = on & (error > 1e-5 * adjoint) & (error * h > 1e-9 * self._integral)
            rate = np.where(counts, (error / (method.weight * adjoint)) ** (1 / method.order) / h, 0.0)
            self._rate = np.where(counts & (error >= carried), rate, self._rate)
            self._fastest = np.maximum(self._fastest, rate)
            self._error = carried + np.where(counts, error, 0.0)
            self._peak = np.where(self._error > 0, np.maximum(self._peak, self._error / self._rate), self._peak)

    def longest_steps(self) -> _Numbers:
        """The longest step with which to try again, or infinity where the gradient is right; [B]."""
        method = self._method
        small = (self._error <= method.tolerance * self._integral * self._rate) & (self._peak <= self._integral)
        with np.errstate(all="ignore"):
            step = np.minimum(method.reach / self._fastest, 0.7 * self._longest)
        step = np.where(small | (self._error == 0), np.inf, step)
        return np.where(self._finite, step, self._longest / 8)

    def _decay(self, z: _Numbers) -> _Numbers:
        total = np.ones_like(z)
        for ratio in reversed(self._method.ratio):
            total = 1 - z * ratio * total
        return np.abs(total)


def shorter_steps(step_sizes: _Numbers, longest: _Numbers) -> _Numbers:
    """Cut the steps of each sample into equal parts of at most ``longest``.

    Parameters
    ----------
    step_sizes : (B, n) array
        Padded with 0.
    longest : (B,) array
        Infinity leaves a sample as it is.

    Raises
    ------
    SolveError
        When a sample then has more than a million steps.
    """
    taken = step_sizes > 0
    with np.errstate(all="ignore"):
        parts = np.where(taken, np.maximum(np.ceil(step_sizes / longest[:, None]), 1), 0)
    totals = parts.sum(axis=1)
    if not (totals <= _MOST_STEPS).all():
        worst = int(np.argmax(totals > _MOST_STEPS))
        raise SolveError(
            f"sample {worst}: its gradient needs more than {_MOST_STEPS:,} steps (shorten the intervals or lower the "
            "multipliers v)"
        )
    counts = parts.astype(np.int64)
    finer = np.zeros((len(step_sizes), int(totals.max(initial=0))))
    for row, size, count in zip(finer, step_sizes, counts, strict=True):
        cut = np.repeat(size[count > 0] / count[count > 0], count[count > 0])
        row[: len(cut)] = cut
    return finer
