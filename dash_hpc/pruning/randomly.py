"""Random pruning: what sparsity alone does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from dash_hpc.ops.state import Tensors
from dash_hpc.pruning.at_init import Timed, TimedOptions
from dash_hpc.pruning.base import EventScores
from dash_hpc.rng import stream
from dash_hpc.study.options import StrategyOptions

__all__ = ["Randomly", "RandomlyOptions"]


class RandomlyOptions(TimedOptions):
    """Random weights are removed: the chance level of every sparsity (balanced accuracy about one half)."""


class Randomly(Timed):
    """Scores are independent draws from U[0, 1), new ones at each event; the weights are not looked at."""

    name: ClassVar[str] = "random"
    Options: ClassVar[type[StrategyOptions]] = RandomlyOptions
    options: RandomlyOptions
    _events: int = 0

    def scores(self, weights: Tensors, masks: Mapping[str, np.ndarray]) -> EventScores:
        """Draw, from a stream of the event and the tensor."""
        self._events += 1
        scores = {
            name: stream(self.seed, "random-scores", self._events, name).random(mask.shape)
            for name, mask in masks.items()
        }
        return scores, [{} for _ in scores]

    def state_arrays(self) -> dict[str, np.ndarray]:
        """Return the number of events so far."""
        return {"events": np.array(self._events)}

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take it over."""
        self._events = int(arrays["events"])
