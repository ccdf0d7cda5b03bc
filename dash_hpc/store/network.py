"""The kept network of a run: the seven tensors and the active entries, sparse on disk."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from scipy.sparse import csr_array, issparse

from dash_hpc.errors import StoreError
from dash_hpc.store.schema import PRUNABLE, TENSORS, read_array, read_table, write_array, write_table

__all__ = ["Network", "read_network", "write_network"]

# 12,000 hidden units by 11,165 genes are an eighth of it.
_LARGEST_TENSOR = 1 << 30


@dataclass(frozen=True)
class Network:
    """The model that a run kept.

    Attributes
    ----------
    epoch : int
        Epoch whose end the weights are from.
    weights : dict
        The seven tensors in the run's dtype (float32 or float64): ``W_sums``, ``W_prods`` (m, G), ``U_sums``,
        ``U_prods`` (G, m), ``b_sums``, ``b_prods`` (m,), ``v`` (G,). Entries outside the mask are exactly 0. Matrices
        that were compressed in training are ``csr_array`` of the active entries.
    masks : dict
        bool, True = active, for the four prunable tensors, in the shape of the array or of the ``data`` of the
        ``csr_array`` (all True there). An active weight may be exactly 0 and is still active.
    genes : tuple of str
        Names in the order of the tensors' gene axis; empty when the run did not store them.
    """

    epoch: int
    weights: dict[str, Any]
    masks: dict[str, np.ndarray]
    genes: tuple[str, ...] = ()


def write_network(
    file: h5py.File,
    weights: Mapping[str, Any],
    masks: Mapping[str, np.ndarray],
    *,
    epoch: int,
    genes: Sequence[str] = (),
) -> None:
    """Write ``/network``: the four prunable tensors as (row, col, value) of their active entries, the rest dense.

    A tensor without a mask counts as fully active.

    Raises
    ------
    StoreError
        When a tensor is missing, a mask has another shape, or a weight outside its mask is not 0.
    """
    group = file.create_group("network")
    group.attrs["epoch"] = np.int64(epoch)
    for name in TENSORS:
        if name not in weights:
            raise StoreError(f"tensor {name} is missing from the network to store; there are {sorted(weights)}")
        weight = weights[name]
        if name not in PRUNABLE:
            write_array(group, name, np.asarray(weight))
            continue
        compressed = issparse(weight)
        values = weight.data if compressed else np.asarray(weight)
        mask = np.asarray(masks[name], dtype=bool) if name in masks else np.ones(values.shape, dtype=bool)
        if mask.shape != values.shape or weight.ndim != 2:
            raise StoreError(f"tensor {name} has shape {values.shape}, its mask {mask.shape}: two equal sizes belong")
        if np.count_nonzero(values[~mask]):
            raise StoreError(f"tensor {name} has weights other than 0 outside its mask: apply the mask first")
        row, col = (part[mask] for part in weight.tocoo().coords) if compressed else np.nonzero(mask)
        tensor = group.create_group(name)
        write_array(tensor, "row", row.astype(np.int32))
        write_array(tensor, "col", col.astype(np.int32))
        write_array(tensor, "value", values[mask])
        write_array(tensor, "shape", np.array(weight.shape, dtype=np.int64))
        if compressed:
            tensor.attrs["compressed"] = np.int8(1)  # for the reader; the entries are stored alike
    if genes:
        write_table(group, "genes", {"name": [str(gene) for gene in genes]})


def read_network(file: h5py.File) -> Network | None:
    """Read ``/network``; None when the run has none yet.

    Raises
    ------
    StoreError
        When a part is missing or does not fit the others.
    """
    group = file.get("network")
    if group is None:
        return None
    weights: dict[str, Any] = {}
    masks: dict[str, np.ndarray] = {}
    for name in TENSORS:
        if name not in PRUNABLE:
            weights[name] = read_array(group, name)
            continue
        tensor = group.get(name)
        if not isinstance(tensor, h5py.Group):
            raise StoreError(f"tensor /network/{name} is missing")
        row, col, value = (read_array(tensor, part) for part in ("row", "col", "value"))
        shape = tuple(int(size) for size in read_array(tensor, "shape"))
        # A few entries may claim any size, and the tensor is allocated before they are read.
        compressed = bool(tensor.attrs.get("compressed", 0))
        largest = max(shape) if compressed and shape else math.prod(shape)
        if len(shape) != 2 or min(shape) < 0 or largest > _LARGEST_TENSOR:
            raise StoreError(f"/network/{name}: cannot have shape {shape}")
        if not row.shape == col.shape == value.shape or row.ndim != 1:
            raise StoreError(f"/network/{name}: row, col, value and shape do not fit each other")
        if row.size and (min(row.min(), col.min()) < 0 or row.max() >= shape[0] or col.max() >= shape[1]):
            raise StoreError(f"/network/{name}: an index lies outside {shape}")
        if compressed:
            weights[name] = csr_array((value, (row, col)), shape=shape)
            masks[name] = np.ones(value.shape, dtype=bool)
            if weights[name].nnz != value.size:
                raise StoreError(f"/network/{name}: an entry is there twice")
            continue
        mask = np.zeros(shape, dtype=bool)
        mask[row, col] = True
        dense = np.zeros(shape, dtype=value.dtype)
        dense[row, col] = value
        weights[name], masks[name] = dense, mask
    genes = tuple(read_table(group, "genes")["name"]) if "genes" in group else ()
    return Network(epoch=int(group.attrs["epoch"]), weights=weights, masks=masks, genes=genes)
