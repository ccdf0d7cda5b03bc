"""Times, rates and solver options in the unit of time that a model is trained in, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dash_hpc.ops.solver import SolverOptions
from dash_hpc.ops.state import Matrix, Tensors, values

__all__ = ["TimeUnit"]

_BITS = 2.0**40


@dataclass(frozen=True)
class TimeUnit:
    """The unit of time inside training and evaluation; what a user gives and sees is in the data's own.

    Parameters
    ----------
    size : float
        Length of the unit, in the data's unit of time.
    """

    size: float = 1.0

    def intervals(self, dt: np.ndarray) -> np.ndarray:
        """Return intervals of the data (float64) in this unit, rounded to 40 bits.

        The rounding takes away the last bits in which hours and minutes differ, which training would amplify. In a unit
        of size 1 intervals stay as they are.
        """
        if self.size == 1.0:
            return np.asarray(dt, dtype=np.float64)
        significand, exponent = np.frexp(np.asarray(dt, dtype=np.float64) / self.size)
        return np.ldexp(np.rint(significand * _BITS) / _BITS, exponent)

    def solver(self, options: Mapping[str, Any] | SolverOptions) -> SolverOptions:
        """Return the options of a user in this unit: the step of rk4 is a time, "auto" the default in this unit."""
        given = SolverOptions.of(options)
        if not isinstance(options, SolverOptions) and options.get("step") == "auto":
            return given
        return replace(given, step=float(self.intervals(np.array(given.step))))

    def inside(self, weights: Tensors) -> dict[str, Matrix]:
        """Return a model of the data's unit in this one: the multipliers v are rates. Other tensors are not copied."""
        return self._rates(weights, self.size)

    def outside(self, weights: Tensors) -> dict[str, Matrix]:
        """Return a model of this unit in the data's one; undoes :meth:`inside` but for rounding."""
        return self._rates(weights, 1.0 / self.size)

    @staticmethod
    def _rates(weights: Tensors, factor: float) -> dict[str, Matrix]:
        if factor == 1.0:
            return dict(weights)
        v = values(weights["v"])
        return {**weights, "v": (v.astype(np.float64) * factor).astype(v.dtype)}
