"""Ranks of strategies, and how sure they are: what a handful of seeds allows to be said of an order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dash_hpc.rng import stream

__all__ = ["Ranks", "plateau_epoch", "ranks"]

_ALL_DRAWS = 4096  # resamplings up to which every one is gone through: five seeds have 3,125
_DRAWS = 4000
_LEVEL = 0.9


@dataclass(frozen=True, eq=False)
class Ranks:
    """Of S strategies: ``rank`` (S,) by the mean over seeds, 1 is best; ``low`` and ``high`` (S,), between which it
    lies in nine of ten resamplings of the seeds; ``first`` (S,), the share of resamplings that a strategy leads.

    Equal means share the middle of their ranks, and a lead. NaN where nothing was measured.
    """

    rank: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    first: NDArray[np.float64]


def ranks(values: ArrayLike, *, larger_is_better: bool = True) -> Ranks:
    """Rank strategies by their mean over seeds, and say how much of the order is luck of the seeds.

    Seeds are drawn with replacement (the bootstrap), the same ones for all strategies, because a seed is the same noise
    and the same split for all. Up to five seeds all drawings are gone through, above that 4,000 at random. With three
    seeds 27 drawings are all that there are: the interval is then coarse, and rather too narrow.

    Parameters
    ----------
    values : (S, n) float
        A strategy per row, a seed per column; NaN where a run failed.
    larger_is_better : bool, default True

    Returns
    -------
    Ranks
    """
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    table = table if larger_is_better else -table
    n = table.shape[1]
    known = np.asarray(np.isfinite(table).any(axis=1))
    empty = np.full(len(table), np.nan)
    if n == 0 or not known.any():
        return Ranks(empty, empty.copy(), empty.copy(), empty.copy())
    own = table[known]
    whole = _means(own, np.arange(n), np.zeros(len(own)))
    if n**n <= _ALL_DRAWS:
        draws = np.array(list(product(range(n), repeat=n)))
    else:
        draws = stream(0, "ranks", n).integers(0, n, size=(_DRAWS, n))
    drawn = np.array([_places(_means(own, draw, whole)) for draw in draws])
    # Equal leaders share the first place: k of them stand at (k + 1) / 2.
    best = drawn.min(axis=1, keepdims=True)
    first = np.where(drawn == best, 1.0 / (2 * best - 1), 0.0).mean(axis=0)
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0, method="inverted_cdf")
    return Ranks(*(_spread(known, part) for part in (_places(whole), low, high, first)))


def _means(table: NDArray[np.float64], draw: NDArray[np.int64], otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over the seeds drawn; that over all seeds where none of those drawn has a value."""
    picked = table[:, draw]
    there = np.isfinite(picked)
    count = there.sum(axis=1)
    total = np.where(there, picked, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), otherwise)


def _places(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks, 1 = largest, the middle one for equal means."""
    above = (means[None, :] > means[:, None]).sum(axis=1)
    equal = (means[None, :] == means[:, None]).sum(axis=1)
    return above + (equal + 1) / 2.0


def _spread(known: NDArray[np.bool_], values: NDArray[np.float64]) -> NDArray[np.float64]:
    whole = np.full(len(known), np.nan)
    whole[known] = values
    return whole


def plateau_epoch(epochs: ArrayLike, errors: ArrayLike, *, share: float = 0.01) -> float:
    """Return the first epoch from which the lowest error so far falls by no more than ``share`` of itself any more.

    A proxy of how long training has to be that does not depend on early stops.

    Parameters
    ----------
    epochs, errors : (n,)
        Of one run; errors that are not finite do not count.
    share : float, default 0.01

    Returns
    -------
    float
        NaN without a finite error.
    """
    at, error = np.asarray(epochs, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    there = np.isfinite(error)
    if not there.any():
        return float("nan")
    lowest = np.minimum.accumulate(np.where(there, error, np.inf))
    return float(at[np.argmax(lowest * (1 - share) <= lowest[-1])])
