"""What a model is validated on after each epoch, in one solution of all its steps."""

from __future__ import annotations

import numpy as np

from dash_hpc.evidence.criterion import RowError
from dash_hpc.models.family import Examples
from dash_hpc.ops.mse import mean_squared_error
from dash_hpc.ops.timeunit import TimeUnit

__all__ = ["Validation"]


class Validation:
    """Pairs, and the steps of start-free rows where a run goes by them.

    Parameters
    ----------
    pairs : Examples
    rows : RowError, optional
    unit : TimeUnit
        The one that models train in.

    Attributes
    ----------
    y0 : (N, G) array
        States to step from, in the model's dtype: those of the pairs; then those of rows where they are others.
    dt : (N,) float64
        Intervals, in the unit of time that models train in.
    """

    def __init__(self, pairs: Examples, rows: RowError | None, unit: TimeUnit) -> None:
        self.pairs, self.rows = pairs, rows
        self.y0, self.dt = pairs.y0, pairs.dt
        #: Where the steps of rows begin: with the pairs', where these set out from the same states.
        self._from = 0
        if rows is not None:
            y0 = np.ascontiguousarray(rows.y0, dtype=pairs.y0.dtype)
            dt = unit.intervals(rows.t1 - rows.t0)
            if not (np.array_equal(y0, pairs.y0) and np.array_equal(dt, pairs.dt)):
                self._from = len(pairs.dt)
                self.y0, self.dt = np.concatenate([pairs.y0, y0]), np.concatenate([pairs.dt, dt])

    def errors(self, predicted: np.ndarray) -> tuple[float, float | None]:
        """Return the MSE of the pairs, and the error of rows where there are some, from the states (N, G) reached."""
        mse = mean_squared_error(predicted[: len(self.pairs.dt)], self.pairs.y1)
        return mse, None if self.rows is None else self.rows.error(predicted[self._from :])

    def place(self, step: int) -> str:
        """Say which step that is."""
        count = len(self.pairs.dt)
        if step < count or self.rows is None:
            return f"pair {step} (trajectory {int(self.pairs.trajectory[step])})"
        return f"step {step - count} of rows (trajectory {int(self.rows.trajectory[step - count])})"
