"""BioPrune: prune by prior knowledge alone."""

from __future__ import annotations

from typing import ClassVar

from dash_hpc.pruning.dash import Dash, ScoreOptions
from dash_hpc.study.options import StrategyOptions

__all__ = ["BioPrune", "BioPruneOptions"]


class BioPruneOptions(ScoreOptions):
    """Prior knowledge alone: DASH at λ = (1, 1)."""


class BioPrune(Dash):
    """DASH with λ₁ = λ₂ = 1: the masks depend on the prior and on Ω(0), not on the weights (Hossain et al. 2024)."""

    name: ClassVar[str] = "bioprune"
    Options: ClassVar[type[StrategyOptions]] = BioPruneOptions

    @staticmethod
    def lambdas(options: ScoreOptions) -> tuple[float, float]:
        """Return (1, 1)."""
        return 1.0, 1.0
