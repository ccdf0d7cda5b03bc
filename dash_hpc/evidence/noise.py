"""How large the noise of the measurements is, and which genes do not move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dash_hpc.data.checks import FloatArray
from dash_hpc.evidence.blocks import Block, IntArray

__all__ = ["Noise", "estimate_noise", "moving_where_listed"]

_FLOOR = 1e-8
_FEW_CONSTANT = 5
#: Differences of neighbouring values that are looked at per gene, at least: with few trajectories, several of each.
_DIFFERENCES = 20
#: Trajectories from which on they show which genes do not move.
_TELLING = 10


@dataclass(frozen=True, eq=False)
class Noise:
    """What repeated values of a gene say.

    Attributes
    ----------
    variance : float
        Of the noise of one value; at least 1e-8.
    constant : (G,) bool
        Genes that do not move within a trajectory: they have levels, not courses, and no regulators.
    within : (G,) float64
        Mean variance within a trajectory.
    late : (G,) float64
        Half the mean square of the last differences between neighbouring values: the noise, where a gene has come to
        rest.
    trajectories : (G,) int64
        In how many a gene has two values or more.
    """

    variance: float
    constant: NDArray[np.bool_]
    within: FloatArray
    late: FloatArray
    trajectories: NDArray[np.int64]


def estimate_noise(blocks: Sequence[Block]) -> Noise:
    """Estimate the noise that all values share from genes that do not move.

    A gene is constant where its variance within trajectories is at most twice what the last differences say. The noise
    is the mean variance of constant genes where there are 5, else the 10 % quantile of what the differences say. The
    last difference of each trajectory counts, or, where there are fewer than 20 trajectories, as many more as make 20.
    A gene without two values in any trajectory counts as constant and says nothing of the noise.
    """
    genes = blocks[0].values.shape[2]
    spread, freedom = np.zeros(genes), np.zeros(genes)
    squares, count = np.zeros(genes), np.zeros(genes)
    trajectories = np.zeros(genes, dtype=np.int64)
    several = [block for block in blocks if len(block.times) > 1]
    depth = -(-_DIFFERENCES // max(1, sum(len(block.trajectories) for block in several)))
    for block in several:
        observed = block.observed
        n = observed.sum(axis=1)
        filled = np.where(observed, block.values, 0.0)
        mean = filled.sum(axis=1) / np.maximum(n, 1)
        spread += np.where(observed, (block.values - mean[:, None]) ** 2, 0.0).sum(axis=(0, 1))
        freedom += np.maximum(n - 1, 0).sum(axis=0)
        trajectories += (n > 1).sum(axis=0)
        for difference in _last_differences(block.values, depth):
            known = ~np.isnan(difference)
            squares += np.where(known, difference**2, 0.0).sum(axis=0)
            count += known.sum(axis=0)
    within, late = spread / np.maximum(freedom, 1), squares / np.maximum(2 * count, 1)
    constant = within <= 2 * late + 1e-12
    quiet = constant & (freedom > 0)
    if quiet.sum() >= _FEW_CONSTANT:
        variance = float(within[quiet].mean())
    else:
        known = late[count > 0]
        variance = float(np.quantile(known, 0.1)) if len(known) else 0.0
    return Noise(max(variance, _FLOOR), constant, within, late, trajectories)


def moving_where_listed(noise: Noise, listed: IntArray) -> Noise:
    """Take genes that have listed regulators for moving ones where fewer than ten trajectories show that they do not.

    In a few long courses noise and slow movement look alike, and the last values need not be at rest. The edges of a
    prior are not refused for that.

    Parameters
    ----------
    noise : Noise
    listed : (G,) int64
        How many regulators the prior has for each gene.
    """
    doubtful = (listed > 0) & (noise.trajectories > 0) & (noise.trajectories < _TELLING)
    return replace(noise, constant=noise.constant & ~doubtful)


def _last_differences(values: FloatArray, depth: int) -> list[FloatArray]:
    """Return the last ``depth`` differences (N, G) of neighbouring measured values (N, K, G); NaN where none is."""
    found = [np.full(values[:, 0].shape, np.nan) for _ in range(min(depth, values.shape[1] - 1))]
    later = values[:, -1].copy()
    taken = np.zeros(later.shape, dtype=np.int64)
    for k in range(values.shape[1] - 2, -1, -1):
        here = values[:, k]
        known = ~np.isnan(here)
        both = known & ~np.isnan(later)
        for number, difference in enumerate(found):
            chosen = both & (taken == number)
            difference[chosen] = later[chosen] - here[chosen]
        taken += both
        later[known] = here[known]
    return found
