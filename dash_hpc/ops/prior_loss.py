"""The prior as a soft constraint: the model should react to random states as the prior network does."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.errors import UsageError
from dash_hpc.ops.checks import as_csr

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PriorLoss"]


class PriorLoss:
    """L_prior = mean over q, j of (c(γ_q)_j − (P γ_q)_j)² (Hossain et al., Genome Biology 2024, PHOENIX).

    c is the model's target state (both branches, without decay and multipliers) and γ_q ~ U(low, high)^G are drawn
    once; P = motifᵀ. One array of ``n_points``×G stays in memory. The native epoch reads it as it is; calling the
    object is the same in PyTorch, and its meaning.

    Parameters
    ----------
    motif : (G, G) CSR, regulator × target, signed
    n_points : int
        Number of random states, 10,000 in the authors' programs.
    low, high : float
        Range of the random states; the authors' is −0.5 to 0.5, although expression lies in 0 to 1.
    rng : numpy.random.Generator
        Source of the states.
    dtype : numpy dtype
        That of the weights.
    multipliers : bool, default False
        True compares the whole rate of change, ReLU(v)·(c(γ) − γ), with Pγ − γ as the paper writes it; False is what
        the authors' programs do.

    Attributes
    ----------
    states : (n_points, G) ndarray of ``dtype``
    network : (G, G) csr_array, float64
        P, target × regulator, sorted columns.

    Raises
    ------
    UsageError
        When ``n_points`` is below 1, the range is empty, or the motif is no square matrix.
    """

    def __init__(
        self,
        motif: csr_array,
        *,
        n_points: int,
        low: float,
        high: float,
        rng: np.random.Generator,
        dtype: np.dtype,
        multipliers: bool = False,
    ) -> None:
        if n_points < 1 or not low < high:
            raise UsageError(
                f"training: prior_points must be 1 or more and prior_low < prior_high, got {n_points}, {low}, {high}"
            )
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise UsageError(f"the prior loss needs float32 or float64, got {np.dtype(dtype)}")
        motif = as_csr(motif, (None, None), "the prior network")
        if motif.shape[0] != motif.shape[1]:
            raise UsageError(f"the prior network must be [G, G], got {list(motif.shape)}")
        self.multipliers = bool(multipliers)
        self.states = rng.uniform(low, high, size=(n_points, motif.shape[0])).astype(dtype)
        self.network = csr_array(motif.T, dtype=np.float64).sorted_indices()

    @property
    def native_form(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, bool]:
        """States; row pointers, columns and values of the network; multipliers: as the native epoch takes them."""
        network = self.network
        return (
            self.states,
            network.indptr.astype(np.int64),
            network.indices.astype(np.int64),
            network.data,
            self.multipliers,
        )

    def __call__(self, params: Mapping[str, Tensor]) -> Tensor:
        """Return L_prior as a scalar, differentiable in the seven tensors."""
        import torch

        (states, response), (sums, prods) = self.response, self._activations
        hidden_sums = sums @ params["W_sums"].T + params["b_sums"]
        hidden_prods = torch.exp(prods @ params["W_prods"].T + params["b_prods"])
        reached = hidden_sums @ params["U_sums"].T + hidden_prods @ params["U_prods"].T
        if not self.multipliers:
            return (reached - response).square().mean()
        rate = torch.relu(params["v"]) * (reached - states)
        return (rate - (response - states)).square().mean()

    @cached_property
    def response(self) -> tuple[Tensor, Tensor]:
        """States and the network's response to them, both (n_points, G)."""
        import torch

        response = (self.network @ self.states.astype(np.float64).T).T
        return torch.from_numpy(self.states), torch.from_numpy(np.ascontiguousarray(response, dtype=self.states.dtype))

    @cached_property
    def _activations(self) -> tuple[Tensor, Tensor]:
        """Both of PHOENIX's activations of the states."""
        import torch

        shifted = self.states.astype(np.float64) - 0.5
        sums = shifted / (1.0 + np.abs(shifted))
        return tuple(torch.from_numpy(part.astype(self.states.dtype)) for part in (sums, np.log1p(sums)))  # type: ignore[return-value]
