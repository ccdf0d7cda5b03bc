"""Magnitude pruning at initialisation: what an untrained weight's size says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from dash_hpc.models.registry import family_of
from dash_hpc.ops.state import Tensors, values
from dash_hpc.pruning.at_init import OneShot, OneShotOptions
from dash_hpc.pruning.base import EventScores
from dash_hpc.study.options import StrategyOptions

__all__ = ["MagnitudeInit", "MagnitudeInitOptions", "sizes"]


class MagnitudeInitOptions(OneShotOptions):
    """The smallest initial weights are removed at once (Frankle et al., ICLR 2021, arXiv 2009.08576)."""


class MagnitudeInit(OneShot):
    """Keeps the largest |θ| of all layers together: a baseline of pruning at initialisation."""

    name: ClassVar[str] = "magnitude_init"
    Options: ClassVar[type[StrategyOptions]] = MagnitudeInitOptions

    def scores(self, weights: Tensors, masks: Mapping[str, np.ndarray]) -> EventScores:
        """Return :func:`sizes`."""
        scores = sizes(weights)
        return scores, [{"mean_size": float(score.mean())} for score in scores.values()]


def sizes(weights: Tensors) -> dict[str, np.ndarray]:
    """Return |θ| of every layer, float64, as it is: comparable across layers, without gains and logarithms."""
    return {layer.name: np.abs(values(layer.tensor).astype(np.float64)) for layer in family_of(weights).layers(weights)}
