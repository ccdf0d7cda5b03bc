"""C-NODE: every path from an input to an output costs the product of its absolute weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from dash_hpc.models.layers import chains
from dash_hpc.models.registry import family_of
from dash_hpc.ops.state import Matrix, Tensors, TrainState, values
from dash_hpc.pruning.base import Context, Step, Strategy, closed
from dash_hpc.study.options import StrategyOptions

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Cnode", "CnodeOptions", "Reach", "add_path_weight", "path_reach"]

#: Per layer: weight of all paths from each of its outputs to the end, and from the beginning to each of its inputs.
Reach = dict[str, tuple[np.ndarray, np.ndarray]]


def path_reach(weights: Mapping[str, np.ndarray], chain: Sequence[str]) -> Reach:
    """Return what paths weigh before and after each layer of one branch.

    Their product is the derivative of R = Σ_paths Π|w| for ``|w|`` of an entry. Nothing here is done by BLAS, whose
    last bits depend on its threads.
    """
    size = {name: np.abs(weights[name]) for name in chain}
    last, first = size[chain[-1]], size[chain[0]]
    onward = {chain[-1]: np.ones(last.shape[0], last.dtype)}
    for name, following in zip(reversed(chain[:-1]), reversed(chain[1:]), strict=True):
        onward[name] = np.einsum("ij,i->j", size[following], onward[following])
    reached = {chain[0]: np.ones(first.shape[1], first.dtype)}
    for name, following in pairwise(chain):
        reached[following] = np.einsum("ij,j->i", size[name], reached[name])
    return {name: (onward[name], reached[name]) for name in chain}


def add_path_weight(
    weights: Mapping[str, np.ndarray],
    chains: Sequence[Sequence[str]],
    price: float,
    gradients: Mapping[str, np.ndarray],
) -> Reach:
    """Add the derivative of ``price · Σ_branches R/(inputs · outputs)`` to ``gradients``, in place; that of |0| is 0.

    Returns what :func:`path_reach` found of all branches.
    """
    found: Reach = {}
    for chain in chains:
        reach = path_reach(weights, chain)
        share = price / (weights[chain[0]].shape[1] * weights[chain[-1]].shape[0])
        for name, (onward, reached) in reach.items():
            part = np.sign(weights[name])
            part *= (share * onward).astype(part.dtype)[:, None]
            if name != chain[0]:  # what reaches the first layer is 1
                part *= reached
            np.add(gradients[name], part, out=gradients[name])
        found |= reach
    return found


class CnodeOptions(StrategyOptions):
    """The weight of all paths from inputs to outputs in the loss (Aliee et al. 2021).

    For SIM350 ``lambda_path_weight = [1e-4, 1e-3, 1e-2, 1e-1]`` and ``prox_threshold = [0, 0.03, 0.1, 0.3]``.
    """

    prunes: ClassVar[bool] = False
    by_schedule: ClassVar[bool] = False
    symbols: ClassVar[Mapping[str, str]] = {"lambda_path_weight": "λ₁"}

    lambda_path_weight: float = Field(
        default=1e-3,
        ge=0,
        le=1e6,
        description="λ₁: the loss has λ₁ times the mean weight of all paths of a pair of genes",
    )
    prox_threshold: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="after each step weights go towards 0 by the learning rate times this on average, and stop at 0; "
        "0 = no such step, as in the paper",
    )


class Cnode(Strategy):
    """Path weights in the loss (Aliee, Theis, Kilbertus: Beyond predictions in neural ODEs, 2021).

    ``loss = data + λ₁ · Σ_branches mean_(i,j) (|W_L|···|W_1|)_(j,i)``, with the subgradient sign(w). That alone leaves
    hardly a weight at exactly 0. ``prox_threshold`` adds, after each step of the optimiser, the proximal step of the
    same penalty: an entry goes towards 0 in proportion to the weight of the paths that lead through it, relative to the
    layer's mean, and never beyond.
    """

    name: ClassVar[str] = "cnode"
    Options: ClassVar[type[StrategyOptions]] = CnodeOptions
    options: CnodeOptions

    def start(self, weights: dict[str, Matrix], masks: dict[str, np.ndarray], context: Context) -> None:
        """Find the branches."""
        found = chains(family_of(weights).layers(weights))
        self.chains = tuple(tuple(layer.name for layer in chain) for chain in found)

    def pull_back(
        self, params: dict[str, Tensor], gradients: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Add the derivative of the path weights."""
        names = [name for chain in self.chains for name in chain]
        weights = {name: params[name].detach().numpy() for name in names}
        given = {name: gradients[name].numpy() for name in names}
        self._reach = add_path_weight(weights, self.chains, self.options.lambda_path_weight, given)
        return gradients, []

    def after_step(self, state: TrainState, step: Step) -> None:
        """Soft-threshold the weights, by the paths as they were before the step."""
        pull = step.rate * self.options.prox_threshold
        if not pull:
            return
        for name, (onward, reached) in self._reach.items():
            mean = float(onward.mean() * reached.mean())
            if mean > 0:
                own = values(state.weights[name])
                most = np.multiply.outer(onward * (pull / mean), reached).astype(own.dtype)
                own -= np.clip(own, -most, most)  # exactly 0 within

    def final(
        self, weights: Tensors, masks: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, Matrix], dict[str, np.ndarray]]:
        """Weights of exactly 0 are not active."""
        return closed(weights, masks)
