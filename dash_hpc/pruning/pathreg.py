"""PathReg: gates of input units, where every open path from an input to an output costs something."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import ClassVar

import numpy as np
from pydantic import Field

from dash_hpc.pruning.cnode import add_path_weight
from dash_hpc.pruning.hard_concrete import Gated, GateOptions, open_chance
from dash_hpc.study.options import StrategyOptions

__all__ = ["PathReg", "PathRegOptions", "open_paths"]


def open_paths(gates: list[np.ndarray]) -> tuple[float, list[float]]:
    """Return the mean over (input, output) of Σ_paths Π(gates on the path), and its derivative for the gates per layer.

    Parameters
    ----------
    gates : list of (inputs,) ndarray
        Per layer of one branch, from the input: the gates of its input units, drawn, or each one's chance to be open.
        Gates are independent, so that chances give the mean of what drawn gates give.
    """
    sums = [float(gate.sum(dtype=np.float64)) for gate in gates]
    of_layer = [prod(sums[:k]) * prod(sums[k + 1 :]) / len(gates[0]) for k in range(len(sums))]
    return prod(sums) / len(gates[0]), of_layer


class PathRegOptions(GateOptions):
    """Hard-concrete gates, the expected number of open paths, and the weight of all paths (Aliee et al. 2022).

    For SIM350 ``lambda_path = [1e-5, 1e-4, 1e-3, 1e-2]`` and ``lambda_path_weight = [1e-4, 1e-3, 1e-2]``.
    """

    symbols: ClassVar[Mapping[str, str]] = {"lambda_path": "λ_path", "lambda_path_weight": "λ₁", "beta": "β"}

    lambda_path: float = Field(
        default=1e-4,
        ge=0,
        le=1e6,
        description="λ_path: the loss has λ_path times the mean expected number of open paths of a pair of genes",
    )
    lambda_path_weight: float = Field(
        default=1e-3, ge=0, le=1e6, description="λ₁: and λ₁ times the mean weight of their paths, gates left aside"
    )


class PathReg(Gated):
    """Open paths in the loss (Aliee, Richter, Solonin, Ibarra, Theis, Kilbertus, NeurIPS 2022).

    ``loss = data + λ_path · R_path + λ₁ · R``: R_path the expected number of open paths (:func:`open_paths`), R the
    weight of all paths as in C-NODE, of the weights without their gates.
    """

    name: ClassVar[str] = "pathreg"
    Options: ClassVar[type[StrategyOptions]] = PathRegOptions
    options: PathRegOptions

    def add_penalty(
        self, weights: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray], own: np.ndarray
    ) -> None:
        """Add what open paths and path weights give."""
        chance = open_chance(self.log_alpha.detach().numpy(), self.options.beta)
        slope = chance * (1.0 - chance)
        for chain in self.chains:
            _, of_layer = open_paths([chance[self.place[name]] for name in chain])
            for name, derivative in zip(chain, of_layer, strict=True):
                own[self.place[name]] += slope[self.place[name]] * (self.options.lambda_path * derivative)
        if self.options.lambda_path_weight:
            add_path_weight(weights, self.chains, self.options.lambda_path_weight, gradients)
