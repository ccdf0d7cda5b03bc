"""An error that noise on the starts does not fool: that of start-free rows."""

from __future__ import annotations

import numpy as np

from dash_hpc.data import DataSet
from dash_hpc.data.checks import FloatArray
from dash_hpc.evidence.blocks import IntArray
from dash_hpc.evidence.starts import smoothing

__all__ = ["RowError"]


class RowError:
    """The mean squared error of a model on the start-free rows of the validation data.

    A model steps from each smoothed state x̂_k to a prediction p_k+1; its course is put together from the steps, and
    what a gene's own deviation at the start of a step would still be at its end is taken along at the gene's rate:
    q_0 = x̂_0, q_k+1 = p_k+1 + exp(-v Δt) (q_k - x̂_k). Of the residual y - q of each gene and stretch of steps counts
    what is orthogonal to (exp(-v t_k))_k: that holds nothing of the value at the start, whose noise is also in the
    state that the steps set out from. A true model has the variance of the noise.

    Parameters
    ----------
    dataset : DataSet
        Its validation part is judged; rates come from the training part.

    Attributes
    ----------
    y0 : (N, G) float64
        States that the steps set out from, smoothed.
    t0, t1 : (N,) float64
        Begin and end of the steps, in the data's unit of time.
    trajectory : (N,) int64
    """

    def __init__(self, dataset: DataSet) -> None:
        found = smoothing(dataset)
        pairs = found.validation.pairs()
        self.y0, self.t0, self.t1, self.trajectory = pairs.y0, pairs.t0, pairs.t1, pairs.trajectory
        self._place = _stretches(pairs.t0, pairs.t1, pairs.trajectory)
        self._first = np.flatnonzero(self._place == 0)
        length = np.diff(np.append(self._first, len(self._place)))
        #: The stretch of each step.
        self._stretch = np.repeat(np.arange(len(self._first)), length)
        elapsed = (pairs.t1 - pairs.t0[self._first][self._stretch]) / dataset.time_unit
        step = (pairs.t1 - pairs.t0) / dataset.time_unit
        self._fall, self._kept = (np.exp(-found.rates * time[:, None]) for time in (elapsed, step))
        measured = {(k, t): row for k, one in enumerate(dataset.validation.trajectories)
                    for t, row in zip(one.times.tolist(), one.values, strict=True)}  # fmt: skip
        self._begin = np.stack([measured[int(self.trajectory[k]), float(self.t0[k])] for k in self._first])
        self._end = np.stack(
            [measured[int(number), float(t)] for number, t in zip(self.trajectory, self.t1, strict=True)]
        )

    def error(self, predicted: np.ndarray) -> float:
        """Return the error, from the model's state (N, G) at the end of each step."""
        shape = (len(self._first), self.y0.shape[1])
        along, square, weight = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        count = np.zeros(shape, dtype=np.int64)

        def add(stretch: IntArray, residual: FloatArray, fall: FloatArray | float) -> None:
            seen = ~np.isnan(residual)
            known = np.where(seen, residual, 0.0)
            along[stretch] += known * fall
            square[stretch] += known**2
            weight[stretch] += np.where(seen, np.broadcast_to(np.square(fall), known.shape), 0.0)
            count[stretch] += seen

        add(np.arange(len(self._first)), self._begin - self.y0[self._first], 1.0)
        model = np.array(predicted, dtype=np.float64)
        for place in range(int(self._place.max()) + 1):
            here = np.flatnonzero(self._place == place)
            if place:  # the steps before these end where these begin
                model[here] += self._kept[here] * (model[here - 1] - self.y0[here])
            add(self._stretch[here], self._end[here] - model[here], self._fall[here])
        start = np.divide(along**2, weight, out=np.zeros(shape), where=weight > 0)
        several = count > 1
        rows = np.maximum(square - start, 0.0)[several]
        return float(rows.sum() / (count[several] - 1).sum())


def _stretches(t0: FloatArray, t1: FloatArray, trajectory: IntArray) -> IntArray:
    """Return the place (N,) of each step in its stretch: steps of which each begins where the one before it ends."""
    place = np.zeros(len(t0), dtype=np.int64)
    for k in range(1, len(t0)):
        if trajectory[k] == trajectory[k - 1] and t0[k] == t1[k - 1]:
            place[k] = place[k - 1] + 1
    return place
