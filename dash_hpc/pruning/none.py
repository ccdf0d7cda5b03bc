"""No pruning: the baseline."""

from __future__ import annotations

from typing import ClassVar

from dash_hpc.pruning.base import Strategy
from dash_hpc.study.options import StrategyOptions

__all__ = ["NoneOptions", "Unpruned"]


class NoneOptions(StrategyOptions):
    """The model without pruning (Hossain et al. 2024, Genome Biology 25:127)."""

    prunes: ClassVar[bool] = False
    by_schedule: ClassVar[bool] = False


class Unpruned(Strategy):
    """Trains all weights; zeros arise only from dead multipliers (v ≤ 0)."""

    name: ClassVar[str] = "none"
    Options: ClassVar[type[StrategyOptions]] = NoneOptions
