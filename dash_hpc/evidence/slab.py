"""The slab: what coefficients of true edges look like, learnt from the edges found."""

from __future__ import annotations

import numpy as np

from dash_hpc.evidence.state import FloatArray, IntArray
from dash_hpc.ops.bayes import CLASSES, Slab, classes, log_sum, sigmoid, width_log_bayes_factors

__all__ = ["refit_slab"]

#: Dirichlet counts of the weights of the four widths: what is assumed before any edge is found.
_COUNTS = np.array([1.0, 2.5, 5.0, 2.5])
_EM_PASSES = 20
_FEW_EDGES = 20
#: Median of |b| for b ~ N(0, 1) (quarter points of the normal).
_MEDIAN_SIZE = 0.6745


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
        factor = log_sum(weighted)
        share = np.exp(weighted - factor) * sigmoid(prior + factor)
        for k in range(CLASSES):
            counts = share[:, kind == k].sum(axis=1) + _COUNTS
            refit.log_weights[:, k] = np.log(counts / counts.sum())
    return refit
