"""The work of an epoch that takes no step: a model that the strategy computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dash_hpc.ops.state import Matrix

if TYPE_CHECKING:
    from dash_hpc.pruning.base import Strategy

__all__ = ["BuildTask"]


@dataclass(frozen=True, eq=False)
class BuildTask:
    """A call of :meth:`dash_hpc.pruning.Strategy.build`; runs side by side make theirs at the same time."""

    strategy: Strategy
    weights: dict[str, Matrix]
    masks: dict[str, np.ndarray]

    def run(self) -> tuple[dict[str, Matrix], dict[str, np.ndarray]] | None:
        """Return what the strategy builds."""
        return self.strategy.build(self.weights, self.masks)
