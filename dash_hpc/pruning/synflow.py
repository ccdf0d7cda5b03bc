"""Iterative SynFlow: pruning by synaptic flow, without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy.sparse import csr_array

from dash_hpc.models.layers import Layer, chains
from dash_hpc.models.registry import family_of
from dash_hpc.ops.events import Selection
from dash_hpc.ops.state import Tensors, entry_rows, values
from dash_hpc.pruning.at_init import Timed, TimedOptions
from dash_hpc.pruning.base import EventScores
from dash_hpc.pruning.ranking import Scope, rank
from dash_hpc.pruning.schedule import n_to_prune
from dash_hpc.study.options import StrategyOptions

__all__ = ["SynFlow", "SynFlowOptions", "flow_scores"]


class SynFlowOptions(TimedOptions):
    """Weights that carry the least synaptic flow are removed, in many small rounds (Tanaka et al., NeurIPS 2020)."""

    when: Literal["init", "schedule"] = Field(
        default="init",
        description="prune once, to the share keep, before the first step (the paper); or at the epochs of [schedule], "
        "by its shares, and keep is not read",
    )
    scope: Scope = Field(
        default="global",
        description="rank the scores across all matrices (the paper), or within each; as many weights go",
    )
    iterations: int = Field(
        default=100, ge=1, le=10_000, description="rounds of an event, each with scores of its own: n of the paper"
    )


class SynFlow(Timed):
    """Score |θ ⊙ ∂R/∂θ| with R = 1ᵀ|W_L|⋯|W_1|1, summed over branches (Tanaka, Kunin, Yamins, Ganguli, 2020).

    The model is made linear: weights by their absolute values, multipliers as they are, activations left out. An event
    that keeps the share ρ of the active weights is ``iterations`` rounds, after round k of which ρ^(k/n) of them are
    left; no layer vanishes before it must.
    """

    name: ClassVar[str] = "synflow"
    Options: ClassVar[type[StrategyOptions]] = SynFlowOptions
    options: SynFlowOptions
    _layers: tuple[Layer, ...] = ()

    def scores(self, weights: Tensors, masks: Mapping[str, np.ndarray]) -> EventScores:
        """Return the flow through every weight, before the first round."""
        self._layers = family_of(weights).layers(weights)
        scores = flow_scores(self._layers, masks)
        return scores, [{"flow": float(score.sum())} for score in scores.values()]

    def select(self, scores: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], fraction: float) -> Selection:
        """Remove weights round by round; thresholds are those of the last one that removed something."""
        rounds, active = self.options.iterations, {name: masks[name] for name in scores}
        before = {name: int(np.count_nonzero(mask)) for name, mask in active.items()}
        thresholds = dict.fromkeys(active, float("nan"))
        for k in range(1, rounds + 1):
            share = fraction if k == rounds else 1.0 - (1.0 - fraction) ** (k / rounds)
            left = sum(int(np.count_nonzero(mask)) for mask in active.values())
            goal = {name: n_to_prune(share, count) for name, count in before.items()}
            if left == sum(before.values()) - sum(goal.values()):
                continue
            if k > 1:
                scores = flow_scores(self._layers, active)
            gone = {name: before[name] - int(np.count_nonzero(mask)) for name, mask in active.items()}
            chosen = rank(scores, active, {name: goal[name] - gone[name] for name in goal}, self.options.scope)
            active = {name: mask for name, (mask, _) in chosen.items()}
            thresholds |= {name: cut for name, (_, cut) in chosen.items() if np.isfinite(cut)}
        self._layers = ()
        return {name: (mask, thresholds[name]) for name, mask in active.items()}


def flow_scores(layers: Sequence[Layer], masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return |θ ⊙ ∂R/∂θ| of every layer in float64, in the shape of its tensor's values.

    Entries outside the masks count as 0.
    """
    found: dict[str, np.ndarray] = {}
    for chain in chains(layers):
        matrices = [_flow_matrix(layer, masks[layer.name]) for layer in chain]
        gains = [np.ones(layer.tensor.shape[0]) if layer.gain is None else layer.gain for layer in chain]
        into = [np.ones(matrices[0].shape[1])]
        for matrix, gain in zip(matrices, gains, strict=True):
            into.append(gain * (matrix @ into[-1]))
        out = np.ones(matrices[-1].shape[0])
        for k in reversed(range(len(chain))):
            out = gains[k] * out
            matrix = matrices[k]
            if isinstance(matrix, csr_array):
                score = out[entry_rows(matrix)] * matrix.data * into[k][matrix.indices]
            else:
                score = out[:, None] * matrix * into[k]
            found[chain[k].name] = chain[k].expand(score)
            out = matrix.T @ out
    return {layer.name: found[layer.name] for layer in layers}


def _flow_matrix(layer: Layer, mask: np.ndarray) -> np.ndarray | csr_array:
    """|θ| of the layer as the matrix that acts between its units."""
    size = np.abs(np.where(mask, values(layer.tensor), 0.0)).astype(np.float64)
    reduced = layer.reduce(size)
    tensor = layer.tensor
    return (
        csr_array((reduced, tensor.indices, tensor.indptr), tensor.shape) if isinstance(tensor, csr_array) else reduced
    )
