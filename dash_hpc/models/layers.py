"""A prunable matrix as pruning strategies and network metrics see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.errors import UsageError
from dash_hpc.ops.state import Matrix, entry_rows, values

__all__ = ["Influence", "Layer", "chains"]


@dataclass(frozen=True, eq=False)
class Layer:
    """One prunable matrix Ω of a model: how large its entries are, and what it has to do with prior knowledge.

    Attributes
    ----------
    name : str
        Of the tensor.
    tensor : (rows, columns) ndarray or csr_array
        Its weights; masked entries are 0.
    branch : str
        Layers of one branch belong together: the output of one is the input of the next.
    relation : {"gram", "chain"} or None
        How scores of this layer meet a prior (Hossain et al., NeurIPS 2024): "gram", the first layer, ΩᵀΩ ≈ C with
        C the interactions among inputs; "chain", the last one, Ω_last ⋯ Ω_first ≈ P with P the outputs × inputs
        network. None: no prior says anything about it.
    gain : (rows,) float64, 0 or larger, optional
        Multiplier of each row, as a part of the entries' magnitude; a row of gain 0 is dead. Left out: 1.
    log_space : bool, default False
        The layer's output is exponentiated: an entry's magnitude is exp(w), not abs(w).
    """

    name: str
    tensor: Matrix
    branch: str
    relation: Literal["gram", "chain"] | None = None
    gain: np.ndarray | None = None
    log_space: bool = False

    def magnitude(self) -> np.ndarray:
        """Return the normalised magnitudes of the entries: float64, the shape of the tensor's values, sum 1.

        All zero where every magnitude is.
        """
        own = values(self.tensor).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            size: np.ndarray = np.exp(own) if self.log_space else np.abs(own)
            if self.gain is not None:
                size = self._row_gains() * size
            total = np.sum(size)
            return size / total if total > 0 else size

    def reduce(self, score: np.ndarray) -> np.ndarray:
        """Return entry scores as the matrix that acts between the units: here the entries are that matrix."""
        return score

    def expand(self, score: np.ndarray) -> np.ndarray:
        """Return a matrix's scores as scores of the entries; undoes :meth:`reduce`."""
        return score

    @property
    def active(self) -> int:
        """Number of entries that are not 0, in rows that have a gain."""
        own = values(self.tensor)
        if self.gain is None:
            return int(np.count_nonzero(own))
        alive = self.gain > 0
        if isinstance(self.tensor, csr_array):
            return int(np.count_nonzero(own[alive[entry_rows(self.tensor)]]))
        return int(np.count_nonzero(own[alive]))

    def _row_gains(self) -> np.ndarray:
        gain = self.gain if self.gain is not None else np.ones(self.tensor.shape[0])
        return gain[entry_rows(self.tensor)] if isinstance(self.tensor, csr_array) else gain[:, None]


@dataclass(frozen=True, eq=False)
class Influence:
    """How genes act on genes: D = diag(gain) · Σ_b outer[b] · inner[b], target × regulator.

    The structure, effect and sign of every edge follow from it. ``outer`` (G, units), ``inner`` (units, G): matrices of
    each branch, dense or compressed; ``gain`` (G,) float64, 0 or larger, of the targets.
    """

    outer: tuple[Matrix, ...]
    inner: tuple[Matrix, ...]
    gain: np.ndarray


def chains(layers: Sequence[Layer]) -> tuple[tuple[Layer, ...], ...]:
    """Return the layers of each branch from the input to the output, the branches in the order of their first layer.

    The layer of relation "gram" is the first of its branch, that of "chain" the last; between them they stand as given.

    Raises
    ------
    UsageError
        When a layer has not as many columns as the one before it has rows.
    """
    place = {"gram": 0, None: 1, "chain": 2}
    found: dict[str, list[Layer]] = {}
    for layer in layers:
        found.setdefault(layer.branch, []).append(layer)
    for branch in found.values():
        branch.sort(key=lambda layer: place[layer.relation])
        for one, following in pairwise(branch):
            if following.tensor.shape[1] != one.tensor.shape[0]:
                raise UsageError(
                    f"{following.name} must have as many columns as {one.name} has rows, {one.tensor.shape[0]}, "
                    f"got {following.tensor.shape[1]}"
                )
    return tuple(tuple(branch) for branch in found.values())
