"""Gates of the hard-concrete distribution, one per input unit of each layer: what L0 and PathReg share.

A gate with the location log α opens by ``z = clip(s·(ζ − γ) + γ, 0, 1)``, ``s = sigmoid((logit u + log α)/β)``, u
uniform: it is exactly 0 or 1 with a probability above 0, and between them it has a derivative (Louizos, Welling,
Kingma: Learning sparse neural networks through L0 regularization, ICLR 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from dash_hpc.models.layers import chains
from dash_hpc.models.registry import family_of
from dash_hpc.ops.state import Matrix, Tensors, TrainState, copy_tensor, values
from dash_hpc.pruning.base import Context, Step, Strategy, closed
from dash_hpc.pruning.start_weights import draw_weights, kaiming_normal
from dash_hpc.rng import stream
from dash_hpc.study.options import StrategyOptions

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HIGH", "LOW", "GateOptions", "Gated", "drawn", "open_chance", "resolved"]

#: γ and ζ: a gate's value before it is clipped lies between them.
LOW, HIGH = -0.1, 1.1
#: u is uniform between this and 1 minus this.
_EDGE = 1e-6
#: log α stays between these.
_LEAST, _MOST = log(1e-2), log(1e2)


def open_chance(log_alpha: np.ndarray, beta: float) -> np.ndarray:
    """Return P(z > 0) of each gate: ``sigmoid(log α − β·log(−γ/ζ))``."""
    return _sigmoid(log_alpha - beta * log(-LOW / HIGH))


def drawn(log_alpha: np.ndarray, beta: float, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gates that ``uniform`` (in (0, 1)) draws, and their derivatives for log α: 0 where clipped."""
    logit = np.log(uniform / (1.0 - uniform)).astype(log_alpha.dtype)
    s = _sigmoid((logit + log_alpha) / beta)
    stretched = s * (HIGH - LOW) + LOW
    moves = (stretched > 0) & (stretched < 1)
    return np.clip(stretched, 0.0, 1.0), s * (1.0 - s) * ((HIGH - LOW) / beta) * moves


def resolved(log_alpha: np.ndarray) -> np.ndarray:
    """Return each gate as it stands when nothing is drawn: ``clip(sigmoid(log α)·(ζ − γ) + γ, 0, 1)``."""
    return np.clip(_sigmoid(log_alpha) * (HIGH - LOW) + LOW, 0.0, 1.0)


class GateOptions(StrategyOptions):
    """Options of hard-concrete gates."""

    prunes: ClassVar[bool] = False
    by_schedule: ClassVar[bool] = False

    beta: float = Field(default=2 / 3, gt=0, le=10, description="β, temperature of the gates")
    drop_first: float = Field(
        default=0.2, gt=0, lt=1, description="rate at which gates of the first layer's inputs drop at the start"
    )
    drop_rest: float = Field(default=0.5, gt=0, lt=1, description="the same for inputs of the layers after it")
    init: Literal["paper", "family"] = Field(
        default="family", description="initial weights: the model family's, or the paper's N(0, 2/inputs) with biases 0"
    )


class Gated(Strategy):
    """Weights behind gates of their input units; a subclass adds the penalty.

    Per batch the gates are drawn once. What is validated, kept and stored has the gates as they stand
    (:func:`resolved`), so that a closed unit has weights of exactly 0.
    """

    options: GateOptions

    def start(self, weights: dict[str, Matrix], masks: dict[str, np.ndarray], context: Context) -> None:
        """Draw the weights and the gates."""
        import torch  # here: the command line reads options without it

        if self.options.init == "paper":
            draw_weights(weights, self.seed, kaiming_normal, zero_biases=True)
        found = chains(family_of(weights).layers(weights))
        #: Names of the layers of each branch, from the input to the output.
        self.chains = tuple(tuple(layer.name for layer in chain) for chain in found)
        #: Where the gates of each layer are, and how many weights each of them lets through.
        self.place: dict[str, slice] = {}
        self.lets: dict[str, int] = {}
        rng, begin, parts = stream(self.seed, "gates"), 0, []
        first = [chain[0].name for chain in found]
        for layer in (layer for chain in found for layer in chain):
            drop = self.options.drop_first if layer.name in first else self.options.drop_rest
            self.lets[layer.name], inputs = layer.tensor.shape
            self.place[layer.name] = slice(begin, begin + inputs)
            parts.append(rng.normal(log((1 - drop) / drop), 0.01, size=inputs))
            begin += inputs
        self.log_alpha = torch.from_numpy(np.concatenate(parts).astype(layer.tensor.dtype)).requires_grad_()
        self.n_examples = len(context.pairs)

    def parameters(self) -> list[tuple[Tensor, float | None]]:
        """log α of all gates, at the weights' rate."""
        return [(self.log_alpha, None)]

    def effective(self, params: dict[str, Tensor], step: Step) -> dict[str, Tensor]:
        """Draw the gates, and multiply the columns by them. The derivative is in :meth:`pull_back` alone."""
        import torch

        uniform = _EDGE + (1 - 2 * _EDGE) * step.rng.random(len(self.log_alpha))
        self._gate, self._slope = drawn(self.log_alpha.detach().numpy(), self.options.beta, uniform)
        found = dict(params)
        for name, place in self.place.items():
            found[name] = torch.from_numpy(params[name].detach().numpy() * self._gate[place])
        return found

    def pull_back(
        self, params: dict[str, Tensor], gradients: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Through the gates; a subclass adds what its penalty gives (:meth:`add_penalty`)."""
        import torch

        given = {name: gradients[name].numpy() for name in self.place}
        own = np.empty_like(self._gate)
        for name, place in self.place.items():
            np.einsum("ij,ij->j", given[name], params[name].detach().numpy(), out=own[place])
            given[name] *= self._gate[place]
        own *= self._slope
        self.add_penalty({name: params[name].detach().numpy() for name in self.place}, given, own)
        return gradients, [torch.from_numpy(own)]

    def add_penalty(
        self, weights: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray], own: np.ndarray
    ) -> None:
        """Add the derivatives of the penalty for the matrices and for log α, in place."""

    def after_step(self, state: TrainState, step: Step) -> None:
        """Keep α between 0.01 and 100."""
        log_alpha = self.log_alpha.detach().numpy()
        np.clip(log_alpha, _LEAST, _MOST, out=log_alpha)

    def final(
        self, weights: Tensors, masks: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, Matrix], dict[str, np.ndarray]]:
        """Take the gates as they stand; what they close is not active."""
        gate = resolved(self.log_alpha.detach().numpy())
        found = dict(weights)
        for name, place in self.place.items():
            found[name] = copy_tensor(weights[name], values(weights[name]) * gate[place])
        return closed(found, masks)

    def notes(self) -> tuple[str, ...]:
        """Say how many weights are closed by drawn gates, which published figures count, and by those that are kept."""
        log_alpha = self.log_alpha.detach().numpy().astype(np.float64)
        drawn_shut = self._share(1.0 - open_chance(log_alpha, self.options.beta))
        shut = self._share((resolved(log_alpha) == 0).astype(np.float64))
        return (
            f"{self.name}: at the end of training a random draw of the gates closes {drawn_shut:.1%} of the weights on "
            f"average, the gates as they stand close {shut:.1%}",
        )

    def _share(self, of_gates: np.ndarray) -> float:
        """Mean over the weights of what is given for the gates."""
        total = sum(float(of_gates[place].sum()) * self.lets[name] for name, place in self.place.items())
        return total / sum((place.stop - place.start) * self.lets[name] for name, place in self.place.items())


def _sigmoid(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = 0.5 * np.tanh(0.5 * x) + 0.5  # no overflow for large -x
    return found
