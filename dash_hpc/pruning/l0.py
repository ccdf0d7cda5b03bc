"""L0 regularisation: gates that cost as much as the weights that they let through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from dash_hpc.pruning.hard_concrete import Gated, GateOptions, open_chance
from dash_hpc.study.options import StrategyOptions

__all__ = ["L0", "L0Options"]


class L0Options(GateOptions):
    """Hard-concrete gates on input units and the expected number of open weights in the loss (Louizos et al. 2018).

    For SIM350 ``lambda_l0 = [1e-5, 1e-4, 1e-3]``.
    """

    symbols: ClassVar[Mapping[str, str]] = {"lambda_l0": "λ₀", "beta": "β"}

    lambda_l0: float = Field(
        default=1e-4,
        ge=0,
        le=1e6,
        description="λ₀: the loss has λ₀/(training pairs) · (expected number of open weights)",
    )
    compat_no_l0_penalty: bool = Field(
        default=False, description="leave that out, as the DASH paper's released code does (with beta = 0.02)"
    )


class L0(Gated):
    """Gates of input units with their expected L0 norm in the loss (Louizos, Welling, Kingma, ICLR 2018).

    ``loss = data + λ₀/N · Σ_gates P(z > 0)·(outputs of the layer)``, N the number of training pairs.
    """

    name: ClassVar[str] = "l0"
    Options: ClassVar[type[StrategyOptions]] = L0Options
    options: L0Options

    def add_penalty(
        self, weights: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray], own: np.ndarray
    ) -> None:
        """Add what the expected number of open weights gives: of a chance p for log α, p·(1 − p)."""
        if self.options.compat_no_l0_penalty:
            return
        chance = open_chance(self.log_alpha.detach().numpy(), self.options.beta)
        slope = chance * (1.0 - chance)
        for name, place in self.place.items():
            own[place] += slope[place] * (self.options.lambda_l0 / self.n_examples * self.lets[name])
