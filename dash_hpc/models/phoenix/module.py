"""PHOENIX: additive and multiplicative co-regulation in one neural ODE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from torch import Tensor

from dash_hpc.errors import UsageError
from dash_hpc.models.phoenix.initial import initial_weights
from dash_hpc.ops.phoenix import TENSORS, check_weights
from dash_hpc.ops.reference import rhs

__all__ = ["Phoenix"]


class Phoenix(torch.nn.Module):
    """Gene-regulatory dynamics ``dg/dt = relu(v) * (c(g) - g)`` (Hossain et al., Genome Biology 2024).

    ``c(g)`` is the sum of two branches: sums of regulators (``W_sums``, ``U_sums``) and products of regulators
    (``W_prods``, ``U_prods``). The model is autonomous: time enters only through the interval.

    Parameters
    ----------
    weights : mapping of array or Tensor
        ``W_sums``, ``W_prods`` [m, G]; ``b_sums``, ``b_prods`` [m]; ``U_sums``, ``U_prods`` [G, m]; ``v`` [G] (or
        [1, G]). float32 or float64, all the same. Values are copied; compressed matrices are spread out.

    Raises
    ------
    UsageError
        When a tensor is missing or its shape or dtype does not fit.
    """

    def __init__(self, weights: Mapping[str, Any]) -> None:
        super().__init__()
        arrays = {
            name: value.detach().cpu().numpy()
            if isinstance(value, Tensor)
            else value.toarray()
            if issparse(value)
            else np.asarray(value)
            for name, value in weights.items()
        }
        if "v" in arrays and arrays["v"].ndim == 2 and arrays["v"].shape[0] == 1:
            arrays["v"] = arrays["v"][0]
        unknown = sorted(set(arrays) - set(TENSORS))
        if unknown:
            raise UsageError(f"unknown tensor {unknown[0]!r}; a PHOENIX model has {', '.join(TENSORS)}")
        self.n_genes, self.n_hidden = check_weights(arrays)
        for name in TENSORS:
            self.register_parameter(name, torch.nn.Parameter(torch.from_numpy(np.array(arrays[name], order="C"))))

    @classmethod
    def from_arrays(
        cls, *, W_sums: Any, b_sums: Any, W_prods: Any, b_prods: Any, U_sums: Any, U_prods: Any, v: Any
    ) -> Phoenix:
        """Build a model from the seven tensors; shapes as in the class."""
        return cls(
            {
                "W_sums": W_sums,
                "b_sums": b_sums,
                "W_prods": W_prods,
                "b_prods": b_prods,
                "U_sums": U_sums,
                "U_prods": U_prods,
                "v": v,
            }
        )

    @classmethod
    def initial(
        cls,
        n_genes: int,
        n_hidden: int,
        rng: np.random.Generator,
        init_U: str = "orthogonal",
        dtype: type[np.floating] = np.float32,
    ) -> Phoenix:
        """Build a model with random initial weights; see :func:`dash_hpc.models.initial_weights`."""
        return cls(initial_weights(n_genes, n_hidden, rng, init_U=init_U, dtype=dtype))

    def tensors(self) -> dict[str, Tensor]:
        """The seven parameters by name, not copied."""
        return {name: getattr(self, name) for name in TENSORS}

    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of the seven tensors as NumPy arrays."""
        return {name: getattr(self, name).detach().cpu().numpy().copy() for name in TENSORS}

    def forward(self, y: Tensor) -> Tensor:
        """Rate of change dg/dt, [..., G], at expression ``y`` [..., G]; per unit of time."""
        if y.shape[-1:] != (self.n_genes,):
            raise UsageError(f"y must be [..., {self.n_genes}], got {list(y.shape)}")
        return rhs(self.tensors(), y)

    def extra_repr(self) -> str:
        return f"genes={self.n_genes}, hidden={self.n_hidden}, dtype={self.v.dtype}"
