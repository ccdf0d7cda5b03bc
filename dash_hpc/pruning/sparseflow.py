"""SparseFlow: train, prune, retrain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from dash_hpc.ops.events import Selection, SelectTask
from dash_hpc.ops.state import Tensors
from dash_hpc.pruning.base import EventScores, Strategy
from dash_hpc.pruning.imp import magnitude_scores
from dash_hpc.pruning.magnitude_init import sizes
from dash_hpc.pruning.ranking import Scope, rank
from dash_hpc.study.options import StrategyOptions
from dash_hpc.study.phases import Phase

__all__ = ["SparseFlow", "SparseFlowOptions"]


class SparseFlowOptions(StrategyOptions):
    """The smallest weights are removed again and again, and the rest trained on (Liebenwein et al., NeurIPS 2021)."""

    scope: Scope = Field(
        default="local",
        description="compare magnitudes within each matrix, as the other strategies do, or |w| across all (the paper)",
    )
    retrain: Literal["continue", "full"] = Field(
        default="continue",
        description="continue: one run that prunes by [schedule]; full: train for training.epochs, then, rounds times, "
        "prune the kept model and train it for as long again from the first learning rate; [schedule] is not read",
    )
    rounds: int = Field(default=8, ge=1, le=100, description="with full: times that the model is pruned and retrained")
    keep: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="with full: share of the weights after the last round; each removes the same share of the rest",
    )

    def unread(self) -> dict[str, str]:
        """Rounds belong to full retraining."""
        return dict.fromkeys(("rounds", "keep"), 'retrain = "continue"') if self.retrain == "continue" else {}

    def phases(self, training: Mapping[str, Any]) -> tuple[Phase, ...]:
        """One phase, or one of training and one for each round."""
        epochs = int(training["epochs"])
        if self.retrain == "continue":
            return (Phase(epochs),)
        cut = {"first_epoch": 1, "first_fraction": 1.0 - self.keep ** (1.0 / self.rounds), "every": 0}
        return (Phase(epochs, schedule=None), *(Phase(epochs, start="kept", schedule=cut) for _ in range(self.rounds)))


class SparseFlow(Strategy):
    """Iterative magnitude pruning with learning-rate rewinding (Liebenwein, Hasani, Amini, Rus, NeurIPS 2021).

    Locally and with ``continue`` it is ``imp`` without rewinding, and DASH at λ = 0, bit for bit: so Hossain et al.
    have it. Globally |w| of all layers has one threshold.
    """

    name: ClassVar[str] = "sparseflow"
    Options: ClassVar[type[StrategyOptions]] = SparseFlowOptions
    scheduled: ClassVar[bool] = True
    options: SparseFlowOptions

    def scores(self, weights: Tensors, masks: Mapping[str, np.ndarray]) -> EventScores:
        """Return magnitudes: normalised in each layer, or as they are."""
        if self.options.scope == "local":
            return magnitude_scores(weights)
        scores = sizes(weights)
        return scores, [{"mean_size": float(score.mean())} for score in scores.values()]

    def select(self, scores: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], fraction: float) -> Selection:
        """Rank in the scope."""
        return rank(scores, masks, self.counts(scores, masks, fraction), self.options.scope)

    def select_task(
        self, scores: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], fraction: float
    ) -> SelectTask | None:
        """Describe the local selection."""
        return self._local_selection(scores, masks, fraction) if self.options.scope == "local" else None
