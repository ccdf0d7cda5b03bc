"""BioPrune: prune by prior knowledge alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dash_hpc.pruning.dash import Dash

__all__ = ["BioPrune"]


class BioPrune(Dash):
    """DASH with λ₁ = λ₂ = 1: the masks depend on the prior and on Ω(0), not on the weights (Hossain et al. 2024).

    Options as in :class:`Dash`, without the two λ.
    """

    name: ClassVar[str] = "bioprune"
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        key: value for key, value in Dash.DEFAULTS.items() if key not in ("lambda_ppi", "lambda_motif")
    }
