"""The prior as a soft constraint: the model should react to random states as the prior network does."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from dash_hpc.errors import UsageError

__all__ = ["PriorLoss"]


class PriorLoss:
    """L_prior = mean over q, j of (c(γ_q)_j − (P γ_q)_j)² (Hossain et al., Genome Biology 2024, PHOENIX).

    c is the model's target state (both branches, without decay and multipliers) and γ_q ~ U(low, high)^G are drawn
    once. Three arrays of size ``n_points``×G stay in memory.

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

    Raises
    ------
    UsageError
        When ``n_points`` is below 1 or the range is empty.
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
        states = rng.uniform(low, high, size=(n_points, motif.shape[0]))
        response = (motif.T @ states.T).T  # P = motifᵀ: output × input
        shifted = states - 0.5
        sums = shifted / (1.0 + np.abs(shifted))
        self.multipliers = multipliers
        self._sums = torch.from_numpy(sums.astype(dtype))
        self._prods = torch.from_numpy(np.log1p(sums).astype(dtype))
        self._states = torch.from_numpy(states.astype(dtype)) if multipliers else None
        self._response = torch.from_numpy(np.ascontiguousarray(response, dtype=dtype))

    def __call__(self, params: Mapping[str, Tensor]) -> Tensor:
        """Return L_prior as a scalar, differentiable in the seven tensors."""
        hidden_sums = self._sums @ params["W_sums"].T + params["b_sums"]
        hidden_prods = torch.exp(self._prods @ params["W_prods"].T + params["b_prods"])
        reached = hidden_sums @ params["U_sums"].T + hidden_prods @ params["U_prods"].T
        if self._states is None:
            return (reached - self._response).square().mean()
        rate = torch.relu(params["v"]) * (reached - self._states)
        return (rate - (self._response - self._states)).square().mean()
