"""What a trajectory's latents are before anything in it is seen: drawn as those of the others were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dash_hpc.evidence.blocks import Block
from dash_hpc.evidence.state import FloatArray, State
from dash_hpc.evidence.wiring import Wiring

__all__ = ["Population"]

#: Least variance of levels and of starts between trajectories.
_LEAST = (1e-6, 1e-4)
#: Variance where fewer than two trajectories say nothing of it: about the range of expression.
_UNKNOWN = 1.0


@dataclass(frozen=True, eq=False)
class Population:
    """Normal distributions of the latents, (nz,) each, and what is needed to see the levels.

    Attributes
    ----------
    mean, variance : (nz,) float64
    noise : float
        Variance of one measurement.
    wiring : Wiring
    """

    mean: FloatArray
    variance: FloatArray
    noise: float
    wiring: Wiring

    @classmethod
    def of_blocks(
        cls, blocks: Sequence[Block], state: State, wiring: Wiring, courses: Sequence[FloatArray]
    ) -> Population:
        """Estimate them: of levels from their trajectories' means, of starts from the first values.

        The noise of what they are estimated from is taken off the variance. Where a first value is missing the course
        as it stands gives the mean.
        """
        levels, starts = wiring.levels, wiring.starts
        level = np.concatenate([_mean(block.values[:, :, levels]) for block in blocks])
        counts = np.concatenate([(~np.isnan(block.values[:, :, levels])).sum(axis=1) for block in blocks])
        start = np.concatenate([block.values[:, 0, starts] for block in blocks])
        first = np.concatenate([course[:, 0] for course in courses])
        known = counts > 0
        share = np.where(known, 1 / np.maximum(counts, 1), 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        mean, variance = [], []
        for values, otherwise, noise, least in (
            (level, first[:, levels], state.noise * share, _LEAST[0]),
            (start, first[:, starts], state.noise, _LEAST[1]),
        ):
            seen = ~np.isnan(values)
            count, filled = seen.sum(axis=0), np.where(seen, values, 0.0)
            middle = np.where(count > 0, filled.sum(axis=0) / np.maximum(count, 1), otherwise.mean(axis=0))
            spread = np.where(seen, (values - middle) ** 2, 0.0).sum(axis=0) / np.maximum(count - 1, 1)
            mean.append(middle)
            variance.append(np.where(count > 1, np.maximum(spread - noise, least), _UNKNOWN))
        return cls(np.concatenate(mean), np.concatenate(variance), state.noise, wiring)

    def of(self, block: Block, latents: FloatArray, precision: FloatArray) -> FloatArray:
        """Return the gradient (N, nz) at latents, and write the precision (N, nz, nz) into an array.

        Both are the population's, and of the levels' own data.
        """
        levels = self.wiring.levels
        every, own = np.arange(latents.shape[1]), np.arange(len(levels))
        precision[...] = 0.0
        precision[:, every, every] = 1 / self.variance
        gradient = (self.mean - latents) / self.variance
        values = block.values[:, :, levels]
        count = (~np.isnan(values)).sum(axis=1)
        precision[:, own, own] += count / self.noise
        gradient[:, own] += np.where(count > 0, count * (_mean(values) - latents[:, own]), 0.0) / self.noise
        return gradient


def _mean(values: FloatArray) -> FloatArray:
    """Mean over the times of (N, K, C) values, 0 where none was measured; NaN there."""
    seen = ~np.isnan(values)
    count = seen.sum(axis=1)
    total = np.where(seen, values, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
