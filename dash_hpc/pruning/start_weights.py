"""Initial weights of a strategy's own, in the place of the family's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dash_hpc.models.registry import family_of
from dash_hpc.ops.state import Matrix, values
from dash_hpc.rng import stream

__all__ = ["Draw", "draw_weights", "kaiming_normal", "kaiming_uniform"]

#: Takes a generator and the shape (outputs, inputs) of a layer.
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def draw_weights(weights: dict[str, Matrix], seed: int, draw: Draw, *, zero_biases: bool = False) -> None:
    """Draw the matrices of all layers anew, in place, from the streams ("weights", layer) of ``seed``.

    With ``zero_biases`` the vectors that learn at the base rate become 0. Masks and compressed matrices are not looked
    at: this is for the start of dense models.
    """
    family = family_of(weights)
    for layer in family.layers(weights):
        own = values(weights[layer.name])
        own[...] = draw(stream(seed, "weights", layer.name), own.shape)
    for tensor in family.tensors if zero_biases else ():
        if not tensor.prunable and tensor.rate == "base":
            values(weights[tensor.name])[...] = 0


def kaiming_normal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """N(0, 2/inputs) (He et al. 2015)."""
    return rng.normal(0.0, np.sqrt(2.0 / shape[1]), size=shape)


def kaiming_uniform(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """U(±1/√inputs): PyTorch's start of a linear layer."""
    bound = 1.0 / np.sqrt(shape[1])
    return rng.uniform(-bound, bound, size=shape)
