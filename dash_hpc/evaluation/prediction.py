"""Pairwise one-step prediction error, and the predictor that says "no change"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dash_hpc.errors import RunFailed
from dash_hpc.models.registry import family_of
from dash_hpc.ops.mse import mean_squared_error
from dash_hpc.ops.timeunit import TimeUnit

__all__ = ["pairwise_mse", "persistence_mse", "predict_pairs"]


def predict_pairs(
    weights: Mapping[str, np.ndarray],
    pairs: Any,
    *,
    solver: Mapping[str, Any],
    what: str = "pair",
    time_unit: float = 1.0,
) -> np.ndarray:
    """Solve the model from the start of every pair to its end.

    Parameters
    ----------
    weights : mapping
        The tensors of a model, per unit of the pairs' time.
    pairs : Pairs
        ``y0`` (N, G), ``t0`` and ``t1`` (N,).
    solver : mapping
        As in the study file: method, rtol, atol, step, max_steps.
    what : str
        Names the data in an error, for example ``"test pair"``.
    time_unit : float
        Solve in units of this many of the pairs' units of time: that of training (:class:`DataSet`), so that rounding
        and step sizes do not depend on the unit of the data.

    Returns
    -------
    (N, G) array
        Predicted states at ``t1``.

    Raises
    ------
    RunFailed
        When one pair cannot be solved; the message names the pair, its times and the solver's reason.
    """
    unit = TimeUnit(time_unit)
    intervals = unit.intervals(pairs.t1 - pairs.t0)
    family = family_of(weights)
    inside = family.rescaled(weights, unit.size)
    solution = family.predict_task(inside, pairs.y0, intervals, unit.solver(solver)).run()
    ok = np.asarray(solution.ok)
    if not ok.all():
        bad = int(np.flatnonzero(~ok)[0])
        raise RunFailed(
            f"{_place(what, pairs, bad)} could not be solved: {solution.reason(bad)}; "
            f"{int((~ok).sum())} of {ok.size} pairs failed"
        )
    predicted = np.asarray(solution.y1)
    if not np.isfinite(predicted).all():
        bad = int(np.flatnonzero(~np.isfinite(predicted).all(axis=1))[0])
        raise RunFailed(f"{_place(what, pairs, bad)} was solved to a value that is not finite")
    return predicted


def _place(what: str, pairs: Any, k: int) -> str:
    return f"{what} {k} (trajectory {int(pairs.trajectory[k])}, t = {pairs.t0[k]:g} to {pairs.t1[k]:g})"


def pairwise_mse(
    weights: Mapping[str, np.ndarray],
    pairs: Any,
    *,
    solver: Mapping[str, Any],
    what: str = "pair",
    time_unit: float = 1.0,
) -> float:
    """Mean squared one-step error over all end values that count (sum of squares / count).

    In units of expression squared. Parameters and ``RunFailed`` as in `predict_pairs`.
    """
    predicted = predict_pairs(weights, pairs, solver=solver, what=what, time_unit=time_unit)
    return mean_squared_error(predicted, pairs.y1)


def persistence_mse(pairs: Any) -> float:
    """Mean squared error of predicting that nothing changes, y1 = y0, over all end values that count."""
    return mean_squared_error(pairs.y0, np.asarray(pairs.y1, dtype=np.float64))
