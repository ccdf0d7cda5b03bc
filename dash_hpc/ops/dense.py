"""Dense copies of compressed matrices, for the plain-PyTorch twins. They allocate what compressed models avoid."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import csr_array

from dash_hpc.ops.state import Tensors

__all__ = ["dense_like", "dense_tensors", "take_back"]


def dense_tensors(tensors: Tensors) -> dict[str, torch.Tensor]:
    """A model's tensors for PyTorch: arrays share their memory, compressed matrices are copied out."""
    return {
        name: torch.from_numpy(value.toarray() if isinstance(value, csr_array) else value)
        for name, value in tensors.items()
    }


def dense_like(weights: Tensors, values: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Arrays in the shape of the tensors' values (moments, masks), spread out where the tensor is compressed."""
    found = {}
    for name, value in values.items():
        tensor = weights[name]
        if isinstance(tensor, csr_array):
            spread = csr_array((value, tensor.indices, tensor.indptr), shape=tensor.shape)
            found[name] = torch.from_numpy(spread.toarray())
        else:
            found[name] = torch.from_numpy(value)
    return found


def take_back(weights: Tensors, dense: Mapping[str, torch.Tensor], values: Mapping[str, np.ndarray]) -> None:
    """Copy the entries of compressed matrices from ``dense`` into ``values`` (arrays share memory already)."""
    for name, value in values.items():
        tensor = weights[name]
        if isinstance(tensor, csr_array):
            rows = np.repeat(np.arange(tensor.shape[0]), np.diff(tensor.indptr))
            value[...] = dense[name].numpy()[rows, tensor.indices]
