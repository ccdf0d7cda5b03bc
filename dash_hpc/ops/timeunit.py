"""Times and solver options in the unit of time that a model is trained in, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dash_hpc.ops.solver import SolverOptions

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
