"""SNIP: single-shot pruning by the sensitivity of the loss to each weight."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, ClassVar

import numpy as np

from dash_hpc.models.registry import family_of
from dash_hpc.ops.gradients import BatchGradients
from dash_hpc.ops.state import Tensors, values
from dash_hpc.pruning.at_init import OneShotOptions
from dash_hpc.pruning.base import EventScores
from dash_hpc.pruning.loss import OneShotByLoss, TrainingLoss, wide
from dash_hpc.study.options import StrategyOptions

__all__ = ["Snip", "SnipOptions"]


class SnipOptions(OneShotOptions):
    """Weights to which the initial loss is least sensitive are removed at once (Lee et al., ICLR 2019)."""


class Snip(OneShotByLoss):
    """Score |θ ∂L/∂θ| / Σ|θ ∂L/∂θ| at the initial weights, over all layers (Lee, Ajanthan, Torr, ICLR 2019).

    L is the error over all training pairs, where the paper takes one batch: nothing is drawn. Weights that start at 0
    have score 0 and go first.
    """

    name: ClassVar[str] = "snip"
    Options: ClassVar[type[StrategyOptions]] = SnipOptions

    def scoring(self, weights: Tensors, masks: Mapping[str, np.ndarray]) -> Generator[Any, BatchGradients, EventScores]:
        """Return the sensitivities of all layers, which sum to 1; give out their gradients."""
        own = wide(weights)
        gradient = yield from TrainingLoss(own, self._context).gradient(own, masks)
        scores = {
            layer.name: np.abs(values(layer.tensor) * gradient[layer.name]) for layer in family_of(own).layers(own)
        }
        total = sum(float(score.sum()) for score in scores.values())
        if total > 0:
            scores = {name: score / total for name, score in scores.items()}
        return scores, [{"sensitivity": float(score.sum())} for score in scores.values()]
