"""PINN + MP: the prior in the loss, then magnitude pruning at one stroke and fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from dash_hpc.models.registry import family_of
from dash_hpc.ops.state import Tensors
from dash_hpc.pruning.base import EventScores
from dash_hpc.pruning.pinn import Pinn, TauOptions
from dash_hpc.study.options import StrategyOptions
from dash_hpc.study.phases import Phase

__all__ = ["PinnMp", "PinnMpOptions"]


class PinnMpOptions(TauOptions):
    """PINN, then the smallest weights are removed at once and the rest fine-tuned (Hossain et al., NeurIPS 2024, B.9).

    Give `p` the published grid, `[0.5, 0.75, 0.83, 0.87, 0.9, 0.92, 0.95, 0.97, 0.99]`, and the study three seeds: each
    (p, seed) is a run, and `dash-hpc select` takes by its rule `one_se` the sparsest p whose mean validation error
    lies within one standard error of the lowest.
    """

    by_schedule: ClassVar[bool] = False
    symbols: ClassVar[dict[str, str]] = {"tau": "τ"}

    p: float = Field(gt=0, lt=1, description="share of each matrix that is removed from the trained model")
    log_magnitudes: bool = Field(
        default=False,
        description="in a branch of products compare exp(w), as the other strategies do; false: |w|, as the authors'",
    )

    def phases(self, training: Mapping[str, Any]) -> tuple[Phase, ...]:
        """Train without pruning, then prune the kept model and train it with its masks fixed."""
        epochs = int(training["epochs"])
        cut = {"first_epoch": 1, "first_fraction": self.p, "every": 0}
        return (Phase(epochs, schedule=None), Phase(epochs, start="kept", schedule=cut))


class PinnMp(Pinn):
    """Each matrix loses its share p of smallest magnitudes; both phases have the loss of PINN.

    One p is one run, and not all of them phases of one: so the runs of the grid stand side by side on many cores,
    their choice is that of every other hyper-parameter (on validation error, by the rule of one standard error), and a
    run that is stopped loses little. The price is that the first phase is trained anew for each p.
    """

    name: ClassVar[str] = "pinn_mp"
    Options: ClassVar[type[StrategyOptions]] = PinnMpOptions
    options: PinnMpOptions

    def scores(self, weights: Tensors, masks: Mapping[str, np.ndarray]) -> EventScores:
        """Return normalised magnitudes."""
        layers = family_of(weights).layers(weights)
        if not self.options.log_magnitudes:
            layers = tuple(replace(layer, log_space=False) for layer in layers)
        scores = {layer.name: layer.magnitude() for layer in layers}
        return scores, [{"data_mass": float(score.sum())} for score in scores.values()]
