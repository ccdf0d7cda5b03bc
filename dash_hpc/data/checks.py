"""What every trajectory must fulfil, wherever it comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dash_hpc.errors import DataError

__all__ = ["FloatArray", "checked_series", "frozen_array"]

FloatArray = NDArray[np.float64]


def frozen_array(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def checked_series(
    times: FloatArray, values: FloatArray, genes: Sequence[str], place: Callable[[int], str]
) -> tuple[FloatArray, FloatArray]:
    """Strip padding, check, and freeze times (T,) and values (T, G) of one trajectory.

    ``place(row)`` says where row 0..G of the published layout is (row G = the times).
    """
    n_genes = len(genes)
    empty = np.isnan(times) & np.isnan(values).all(axis=1)
    kept = len(times) - int(np.argmin(empty[::-1])) if not empty.all() else 0
    if kept == 0 or np.isnan(times).all():
        raise DataError(f"{place(n_genes)}: the line of times is empty; every trajectory needs its times")
    times, values = times[:kept].copy(), np.ascontiguousarray(values[:kept])
    if np.isinf(times).any():
        raise DataError(f"{place(n_genes)}: time {int(np.argmax(np.isinf(times))) + 1} is infinite")
    if np.isinf(values).any():
        gene = int(np.argmax(np.isinf(values).any(axis=0)))
        point = int(np.argmax(np.isinf(values[:, gene])))
        raise DataError(f"{place(gene)}: gene {genes[gene]} is infinite at time point {point + 1}")
    known = np.flatnonzero(np.isfinite(times))
    wrong = np.flatnonzero(np.diff(times[known]) <= 0)
    if len(wrong):
        before, after = times[known[wrong[0]]], times[known[wrong[0] + 1]]
        point = known[wrong[0] + 1] + 1
        what = "repeats the time before it" if after == before else f"comes after {before:g}"
        raise DataError(f"{place(n_genes)}: time {after:g} (time point {point}) {what}; times must increase strictly")
    return frozen_array(times), frozen_array(values)
