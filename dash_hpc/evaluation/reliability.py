"""How far single edges can be believed: calibration, realised false discoveries, what chance finds of a set of edges.

Everything here takes numbers in [0, 1] that are read as probabilities of edges: of the share of runs that have an edge,
or of a strategy's own probabilities. Pairs that are not listed have 0, so that nothing of size G·G is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dash_hpc.data.variants import rewired
from dash_hpc.errors import UsageError
from dash_hpc.rng import stream

__all__ = ["NOMINAL", "ClassShare", "Discovery", "Reliability", "class_share", "realised_fdr", "reliability"]

#: Shares of false discoveries that are asked for.
NOMINAL = (0.05, 0.1, 0.2)
_BINS = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reliability:
    """Whether edges of a probability are real as often as it says.

    ``probability``, ``share``, ``count`` (B,): mean probability, share of real edges and number of pairs per bin; the
    pairs of probability 0 are a bin of their own, which comes first. ``ece`` is the expected calibration error over all
    pairs, mean |probability − share| by bin weighted with the pairs; ``ece_listed`` over the pairs above 0 alone, which
    the many pairs of 0 do not drown. ``brier`` is the mean squared difference over all pairs, ``brier_base`` that of
    saying the share of edges for every pair.
    """

    probability: Floats
    share: Floats
    count: NDArray[np.int64]
    ece: float
    ece_listed: float
    brier: float
    brier_base: float


def reliability(probability: ArrayLike, real: ArrayLike, *, n_real: int, n_pairs: int) -> Reliability:
    """Compare probabilities with a reference.

    Parameters
    ----------
    probability : (E,) float in [0, 1]
        Of the pairs that are listed; all others have 0.
    real : (E,) bool
        Which of them the reference has.
    n_real, n_pairs : int
        Number of the reference's edges and of all pairs.

    Raises
    ------
    UsageError
        A probability outside [0, 1], or more listed or real pairs than there are.
    """
    p, y = np.asarray(probability, dtype=np.float64), np.asarray(real, dtype=bool)
    hits = int(np.count_nonzero(y))
    if p.shape != y.shape or len(p) > n_pairs or hits > n_real or (len(p) and not (p.min() >= 0 and p.max() <= 1)):
        raise UsageError("probabilities must be in [0, 1], one for each listed pair, and no more pairs than there are")
    bins = np.where(p > 0, np.minimum((p * _BINS).astype(np.int64), _BINS - 1) + 1, 0)
    count = np.bincount(bins, minlength=_BINS + 1)
    mass = np.bincount(bins, p, _BINS + 1)
    good = np.bincount(bins, y.astype(np.float64), _BINS + 1)
    count[0] += n_pairs - len(p)
    good[0] += n_real - hits
    gap = np.abs(mass - good)
    listed = int(count[1:].sum())
    used = count > 0
    base = n_real / n_pairs if n_pairs else float("nan")
    return Reliability(
        mass[used] / count[used],
        good[used] / count[used],
        count[used],
        float(gap.sum() / n_pairs) if n_pairs else float("nan"),
        float(gap[1:].sum() / listed) if listed else float("nan"),
        float((((p - y) ** 2).sum() + n_real - hits) / n_pairs) if n_pairs else float("nan"),
        base * (1 - base),
    )


@dataclass(frozen=True)
class Discovery:
    """The edges taken at a nominal share of false discoveries: how many, the share expected and the realised one.

    ``threshold`` is the least probability among them. NaN where none could be taken.
    """

    nominal: float
    n_taken: int
    threshold: float
    expected: float
    realised: float


def realised_fdr(probability: ArrayLike, real: ArrayLike, levels: Sequence[float] = NOMINAL) -> tuple[Discovery, ...]:
    """Take as many edges as the probabilities allow at each nominal share of false ones, and count the false ones.

    The share to be expected of a set of edges is the mean of 1 − probability; the largest set of the most probable
    edges is taken for which it is the nominal one or less. Edges of one probability are taken together or not at all.

    Parameters
    ----------
    probability : (E,) float
    real : (E,) bool
    levels : sequence of float, default .05, .1, .2
    """
    p, y = np.asarray(probability, dtype=np.float64), np.asarray(real, dtype=bool)
    order = np.argsort(-p, kind="stable")
    p, y = p[order], y[order]
    last = np.flatnonzero(np.append(p[1:] != p[:-1], True)) if len(p) else np.zeros(0, dtype=np.int64)
    number = np.arange(1, len(p) + 1)
    expected, wrong = np.cumsum(1 - p) / np.maximum(number, 1), np.cumsum(~y)
    found = []
    for level in levels:
        fits = last[expected[last] <= level + 1e-12]
        if len(fits):
            k = int(fits[-1])
            found.append(Discovery(level, k + 1, float(p[k]), float(expected[k]), float(wrong[k] / (k + 1))))
        else:
            found.append(Discovery(level, 0, float("nan"), float("nan"), float("nan")))
    return tuple(found)


@dataclass(frozen=True)
class ClassShare:
    """What a model has of a set of edges, and of sets that keep every gene's degrees and nothing else.

    ``share`` is the mean probability of the set, ``null`` and ``null_sd`` mean and s.d. of it over rewired sets, ``p``
    the share of these that reach at least as much, with one added to both counts.
    """

    n: int
    share: float
    null: float
    null_sd: float
    p: float


def class_share(
    regulator: ArrayLike,
    target: ArrayLike,
    table: tuple[ArrayLike, ArrayLike],
    n_genes: int,
    *,
    draws: int = 100,
    seed: int = 0,
) -> ClassShare | None:
    """Measure how much a model has of some edges, beside a null of degree-preserving rewirings of these edges.

    A model that knows which genes regulate and which are regulated, but not which pairs, has as much of rewired sets.

    Parameters
    ----------
    regulator, target : (n,) int
        The edges, such as those withheld from the prior.
    table : (flat, probability)
        target · G + regulator of the listed pairs, increasing, and their probabilities; all others have 0.
    n_genes : int
    draws : int, default 100
    seed : int, default 0

    Returns
    -------
    ClassShare or None
        None for no edge.
    """
    regulators, targets = np.asarray(regulator, dtype=np.int64), np.asarray(target, dtype=np.int64)
    if not len(regulators):
        return None
    flat, probability = np.asarray(table[0], dtype=np.int64), np.asarray(table[1], dtype=np.float64)

    def share(of: NDArray[np.int64]) -> float:
        wanted = of * n_genes + regulators
        place = np.minimum(np.searchsorted(flat, wanted), max(len(flat) - 1, 0))
        return float(np.where(flat[place] == wanted, probability[place], 0.0).mean()) if len(flat) else 0.0

    own = share(targets)
    null = np.array(
        [share(rewired(regulators, targets, n_genes, stream(seed, "edge-class", draw))) for draw in range(draws)]
    )
    reached = int(np.count_nonzero(null >= own - 1e-12))
    return ClassShare(
        len(regulators), own, float(null.mean()), float(null.std(ddof=1)), (1 + reached) / (1 + len(null))
    )
