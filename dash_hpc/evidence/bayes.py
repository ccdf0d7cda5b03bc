"""Bayes factors of single coefficients under zero-mean normal slabs, and the slabs, learnt from the edges found.

With a score q and an information s the likelihood of a coefficient b is proportional to exp(q b − s b² / 2). Under a
normal N(0, t²) the Bayes factor against b = 0 has a closed form; with a sign from the prior, b has half of it.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr

from dash_hpc.evidence.state import WIDTHS, FloatArray, IntArray, Slab

__all__ = ["CLASSES", "classes", "log_bayes_factors", "refit_slab", "sigmoid", "width_log_bayes_factors"]

#: Classes of targets by their number of regulators: 1, 2, 3, 4 and more.
CLASSES = 4
#: Dirichlet counts of the weights of the four widths: what is assumed before any edge is found.
_COUNTS = np.array([1.0, 2.5, 5.0, 2.5])
_EM_PASSES = 20
_FEW_EDGES = 20
#: Median of |b| for b ~ N(0, 1) (quarter points of the normal).
_MEDIAN_SIZE = 0.6745


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
    return _log_sum(parts + slab.log_weights[:, classes(expected)])


def refit_slab(
    slab: Slab,
    *,
    member_sizes: FloatArray,
    member_expected: FloatArray,
    score: FloatArray,
    information: FloatArray,
    expected: FloatArray,
    sign: IntArray,
    prior: FloatArray,
) -> Slab:
    """Learn sizes and weights of the slab anew.

    Parameters
    ----------
    slab : Slab
        What the weights start from; also the sizes, where there are 20 or fewer sure members.
    member_sizes, member_expected : (M,)
        |b| and expected number of regulators of the members that are sure (log-odds above 2).
    score, information, expected, sign, prior : (C,)
        Of all edges that are not out of the question (log-odds above −6); ``prior`` is their log-odds before the data.

    Notes
    -----
    The size is a line through ln |b| against ln k by least squares. The weights take 20 passes of EM from where they
    were, under Dirichlet counts.
    """
    level, slope = slab.level, slab.slope
    if len(member_sizes) > _FEW_EDGES:
        design = np.stack([np.ones_like(member_expected), -np.log(member_expected)], axis=1)
        line = np.linalg.lstsq(design, np.log((member_sizes + 1e-4) / _MEDIAN_SIZE), rcond=None)[0]
        level, slope = float(line[0]), float(np.clip(line[1], 0, 3))
    refit = Slab(level, slope, slab.log_weights.copy())
    kind = classes(expected)
    parts = width_log_bayes_factors(score, information, refit.size(expected), sign)
    for _ in range(_EM_PASSES):
        weighted = parts + refit.log_weights[:, kind]
        factor = _log_sum(weighted)
        share = np.exp(weighted - factor) * sigmoid(prior + factor)
        for k in range(CLASSES):
            counts = share[:, kind == k].sum(axis=1) + _COUNTS
            refit.log_weights[:, k] = np.log(counts / counts.sum())
    return refit


def _log_sum(parts: FloatArray) -> FloatArray:
    """ln Σ exp over the first axis."""
    most = parts.max(axis=0)
    return np.asarray(most + np.log(np.exp(parts - most).sum(axis=0)))
