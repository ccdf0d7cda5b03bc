"""Pruning in one shot, before the first step: what these strategies have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from dash_hpc.ops.events import Selection
from dash_hpc.pruning.base import Strategy
from dash_hpc.pruning.ranking import Scope, rank
from dash_hpc.study.options import StrategyOptions

__all__ = ["OneShot", "OneShotOptions", "Timed", "TimedOptions"]


class OneShotOptions(StrategyOptions):
    """Weights are removed once, at the beginning of the first epoch."""

    by_schedule: ClassVar[bool] = False

    keep: float = Field(default=0.05, gt=0, lt=1, description="share of the weights that is kept at initialisation")


class OneShot(Strategy):
    """One event, at the initial weights, whose scores are ranked across all layers; then training as usual.

    The event is that of epoch 1, so that it is recorded, timed and done beside others like any other.
    """

    options: OneShotOptions

    def fraction(self, epoch: int, last_epoch: int) -> float | None:
        """Return all that is to be removed at the first epoch."""
        return 1.0 - self.options.keep if epoch == 1 else None

    def select(self, scores: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], fraction: float) -> Selection:
        """Rank across all layers."""
        return rank(scores, masks, self.counts(scores, masks, fraction), "global")


class TimedOptions(OneShotOptions):
    """Weights are removed at initialisation or by the schedule."""

    by_schedule: ClassVar[bool] = True

    when: Literal["init", "schedule"] = Field(
        default="schedule",
        description="prune once, to the share keep, before the first step; or at the epochs of [schedule], by its "
        "shares, and keep is not read",
    )
    scope: Scope = Field(
        default="local", description="rank the scores within each matrix, or across all; as many weights go"
    )

    def unread(self) -> dict[str, str]:
        """The share belongs to initialisation."""
        return {"keep": 'when = "schedule"'} if self.when == "schedule" else {}


class Timed(OneShot):
    """Like :class:`OneShot`, or at the events of the schedule; locally or globally."""

    options: TimedOptions

    def fraction(self, epoch: int, last_epoch: int) -> float | None:
        """Return the share to remove at the start of the epoch."""
        if self.options.when == "init":
            return super().fraction(epoch, last_epoch)
        return self.schedule.fraction_at(epoch, last_epoch)

    def select(self, scores: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], fraction: float) -> Selection:
        """Rank in the scope."""
        return rank(scores, masks, self.counts(scores, masks, fraction), self.options.scope)
