"""Empirical Bayes for many estimates of one kind: each is drawn towards what they have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dash_hpc.data.checks import FloatArray

__all__ = ["Shrunk", "shrink"]

_NONE = 1e-8


@dataclass(frozen=True, eq=False)
class Shrunk:
    """Attributes: ``values`` (n,), the ``mean`` and the ``variance`` between them (0: they are all the same)."""

    values: FloatArray
    mean: float
    variance: float


def shrink(values: FloatArray, variances: FloatArray) -> Shrunk:
    """Shrink estimates to their common mean, in a normal-normal model.

    Parameters
    ----------
    values, variances : (n,) float64
        Estimates and the squares of their standard errors; n of 1 or more.

    Notes
    -----
    The variance between them is that of DerSimonian and Laird (Controlled Clinical Trials 7, 1986). Where it is below
    1e-8 all get the mean.
    """
    weight = 1.0 / variances
    total = weight.sum()
    mean = (weight * values).sum() / total
    excess = (weight * (values - mean) ** 2).sum() - (len(values) - 1)
    scale = total - (weight**2).sum() / total
    between = max(0.0, excess / scale) if scale > 0 else 0.0
    if between > 0:
        weight = 1.0 / (variances + between)
        mean = (weight * values).sum() / weight.sum()
    if between <= _NONE:
        return Shrunk(np.full(len(values), mean), float(mean), float(between))
    posterior = (values / variances + mean / between) / (1.0 / variances + 1.0 / between)
    return Shrunk(posterior, float(mean), float(between))
