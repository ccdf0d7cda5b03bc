"""No pruning: the baseline."""

from __future__ import annotations

from typing import ClassVar

from dash_hpc.pruning.base import Strategy

__all__ = ["Unpruned"]


class Unpruned(Strategy):
    """Trains all weights; zeros arise only from dead multipliers (v ≤ 0)."""

    name: ClassVar[str] = "none"
