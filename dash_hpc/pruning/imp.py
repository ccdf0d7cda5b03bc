"""Iterative magnitude pruning, with or without rewinding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import BeforeValidator, Field

from dash_hpc.models.registry import family_of
from dash_hpc.ops.state import Matrix, Tensors, TrainState, values
from dash_hpc.pruning.base import Context, Strategy
from dash_hpc.study.options import StrategyOptions

if TYPE_CHECKING:
    from dash_hpc.data import DataSet

__all__ = ["Imp", "ImpOptions", "magnitude_scores"]

_STORED = "rewind_"


def _rewind(value: Any) -> Any:
    if value in ("none", "init") and isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError('must be "none", "init" or an epoch (a whole number of 0 or more)')


class ImpOptions(StrategyOptions):
    """Iterative magnitude pruning (Frankle and Carbin 2019; rewinding: Renda et al. 2020)."""

    rewind: Annotated[str | int, BeforeValidator(_rewind)] = Field(
        default="none",
        description="after an event the surviving weights go back to: none (stay), init, or the epoch given",
    )

    @classmethod
    def unfit(cls, key: str, value: Any, first_epoch: int) -> str:
        """An epoch must lie before the first event."""
        if key == "rewind" and isinstance(value, int) and value >= first_epoch:
            return f"must be smaller than schedule.first_epoch = {first_epoch}: those weights do not exist yet"
        return ""


class Imp(Strategy):
    """Removes the smallest weights of each tensor (Frankle & Carbin 2019; rewinding: Renda et al. 2020).

    With ``rewind`` all tensors go back, after each event, to their initial values ("init", the same as 0) or to their
    values at the end of that epoch; the new masks are kept, and Adam starts afresh: its moments belong to the weights
    that are left behind. An epoch must lie before the schedule's first event.
    """

    name: ClassVar[str] = "imp"
    Options: ClassVar[type[StrategyOptions]] = ImpOptions
    scheduled: ClassVar[bool] = True
    options: ImpOptions

    def __init__(self, options: ImpOptions, schedule: Mapping[str, Any], dataset: DataSet, seed: int) -> None:
        super().__init__(options, schedule, dataset, seed)
        rewind = self.options.rewind
        self.rewind_epoch = rewind if isinstance(rewind, int) else {"none": None, "init": 0}[rewind]
        self._stored: dict[str, np.ndarray] = {}

    def start(self, weights: dict[str, Matrix], masks: dict[str, np.ndarray], context: Context) -> None:
        """Store the initial weights when they are the ones to come back to."""
        if self.rewind_epoch == 0:
            self._stored = {name: values(tensor).copy() for name, tensor in weights.items()}

    def scores(
        self, weights: Tensors, masks: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
        """Return normalised magnitudes; see :func:`magnitude_scores`."""
        return magnitude_scores(weights)

    def after_event(self, state: TrainState, epoch: int) -> None:
        """Rewind, if asked for."""
        if self.rewind_epoch is None:
            return
        for name, value in self._stored.items():
            own = values(state.weights[name])
            own[...] = value
            if name in state.masks:
                own[~state.masks[name]] = 0
            state.moment1[name][...] = 0
            state.moment2[name][...] = 0
        state.step = 0

    def after_epoch(self, state: TrainState, epoch: int) -> None:
        """Store the weights at the end of the epoch that is to come back."""
        if self.rewind_epoch is not None and epoch == self.rewind_epoch:
            self._stored = {name: values(tensor).copy() for name, tensor in state.weights.items()}

    def state_arrays(self) -> dict[str, np.ndarray]:
        """Return the weights to come back to, once they exist."""
        return {_STORED + name: value.copy() for name, value in self._stored.items()}

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over the stored weights."""
        self._stored = {
            key.removeprefix(_STORED): np.array(value) for key, value in arrays.items() if key.startswith(_STORED)
        }


def magnitude_scores(weights: Tensors) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Return the normalised magnitudes of every layer, and what an event records of them."""
    scores = {layer.name: layer.magnitude() for layer in family_of(weights).layers(weights)}
    record = {
        "prior_mass": 0.0,
        "data_mass": 1.0,
        "condition": float("nan"),
        "method": "none",
        "ridge": 0.0,
    }
    return scores, [dict(record, data_mass=float(score.sum())) for score in scores.values()]
