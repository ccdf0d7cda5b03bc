"""Bayes factors of single coefficients under zero-mean normal slabs.

With a score q and an information s the likelihood of a coefficient b is proportional to exp(q b − s b² / 2). Under a
normal N(0, t²) the Bayes factor against b = 0 has a closed form; with a sign from the prior, b has half of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

__all__ = ["CLASSES", "WIDTHS", "Slab", "classes", "log_bayes_factors", "log_sum", "sigmoid", "width_log_bayes_factors"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Classes of targets by their number of regulators: 1, 2, 3, 4 and more.
CLASSES = 4
#: Widths of the four slabs, as multiples of the typical size of a coefficient.
WIDTHS = np.array([0.1, 1 / 3, 1.0, 3.0])


@dataclass(frozen=True, eq=False)
class Slab:
    """What coefficients of true edges look like: a mixture of normals around 0, learnt from the edges found.

    Attributes
    ----------
    level, slope : float
        The typical size in a target of k regulators is ``exp(level − slope · ln k)``.
    log_weights : (4, 4) float64
        Log weight of each width (row), by class of k (column): 1, 2, 3, 4 and more.
    """

    level: float = 0.0
    slope: float = 1.0
    log_weights: FloatArray = field(
        default_factory=lambda: np.repeat(np.log([[0.1], [0.25], [0.4], [0.25]]), 4, axis=1)
    )

    def size(self, k: FloatArray | float) -> FloatArray:
        """Typical size τ(k) of a coefficient in a target of k regulators."""
        return np.exp(self.level - self.slope * np.log(np.maximum(k, 1)))


def sigmoid(log_odds: FloatArray) -> FloatArray:
    """Probability of log-odds."""
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -50, 50))))


def classes(expected: FloatArray) -> IntArray:
    """Class 0..3 of each expected number of regulators."""
    return np.clip(np.round(expected), 1, CLASSES).astype(np.int64) - 1


def width_log_bayes_factors(score: FloatArray, information: FloatArray, size: FloatArray, sign: IntArray) -> FloatArray:
    """Log Bayes factors under each width of the slab.

    Parameters
    ----------
    score, information : (C,)
    size : (C,)
        Typical size τ of a coefficient.
    sign : (C,)
        +1 or −1 where the sign is known, else 0.

    Returns
    -------
    (4, C) float64
    """
    width = WIDTHS[:, None] * size
    precision = information + width**-2
    found = 0.5 * score**2 / precision - 0.5 * np.log1p(information * width**2)
    known = np.flatnonzero(sign)
    if len(known):
        found[:, known] += np.log(2) + log_ndtr(sign[known] * score[known] / np.sqrt(precision[:, known]))
    return np.asarray(found)


def log_bayes_factors(
    score: FloatArray, information: FloatArray, expected: FloatArray, sign: IntArray, slab: Slab
) -> FloatArray:
    """Log Bayes factors (C,) under the mixture of widths of each edge's class."""
    parts = width_log_bayes_factors(score, information, slab.size(expected), sign)
    return log_sum(parts + slab.log_weights[:, classes(expected)])


def log_sum(parts: FloatArray) -> FloatArray:
    """ln Σ exp over the first axis."""
    most = parts.max(axis=0)
    return np.asarray(most + np.log(np.exp(parts - most).sum(axis=0)))
