"""The kept network of a run: vectors as they are, matrices as their active entries.

Nothing here knows a model: it writes the tensors that it is given, and what has a mask was prunable. Every axis of a
matrix is as long as one of the vectors, so that a file cannot claim a size that its content does not show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from scipy.sparse import csr_array, issparse

from dash_hpc.errors import StoreError
from dash_hpc.store.hdf5 import Dataset, Group
from dash_hpc.store.schema import read_array, read_table, row_count, write_array, write_table

__all__ = ["Network", "gene_count", "read_network", "write_network"]

# A matrix of more bytes than the first, and more times its entries than the second, is not spread out.
_SPREAD_BYTES = 1 << 26
_SPREAD_SHARE = 8
_KINDS = {"i": "whole", "f": "IEEE"}


@dataclass(frozen=True)
class Network:
    """The model that a run kept.

    Attributes
    ----------
    epoch : int
        Epoch whose end the weights are from.
    weights : dict
        The model's tensors by name, in the run's dtype (float32 or float64). Entries outside the mask are exactly 0.
        Matrices that were compressed in training are ``csr_array`` of the active entries; so are those that would take
        more than 64 MB, and more than 8 times their entries, spread out.
    masks : dict
        bool, True = active, for the tensors that may be pruned, in the shape of the array or of the ``data`` of the
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
    """Write ``/network``: matrices as (row, col, value) of their active entries, vectors as they are.

    A matrix without a mask counts as fully active.

    Raises
    ------
    StoreError
        When a mask has no tensor or another shape, a weight outside its mask is not 0, or an axis of a matrix is as
        long as none of the vectors.
    """
    group = file.create_group("network")
    group.attrs["epoch"] = np.int64(epoch)
    if missing := sorted(set(masks) - set(weights)):
        raise StoreError(f"tensor {missing[0]} is missing from the network to store; there are {sorted(weights)}")
    lengths = _lengths(weights)
    for name, weight in weights.items():
        if weight.ndim == 1 and name not in masks:
            write_array(group, name, np.asarray(weight))
            continue
        compressed = issparse(weight)
        values = weight.data if compressed else np.asarray(weight)
        mask = np.asarray(masks[name], dtype=bool) if name in masks else np.ones(values.shape, dtype=bool)
        if mask.shape != values.shape or weight.ndim != 2:
            raise StoreError(f"tensor {name} has shape {values.shape}, its mask {mask.shape}: two equal sizes belong")
        if not set(weight.shape) <= lengths:
            raise StoreError(f"tensor {name} of shape {weight.shape}: the network has no vector as long as its axes")
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


def gene_count(file: Group) -> int:
    """Return how many genes the network of a run has; of one without their names, how long its longest vector is."""
    group = file.group("network")
    if "genes" in group.members:
        return row_count(group.group("genes"))
    return max((member.size for member in group.members.values() if isinstance(member, Dataset)), default=0)


def read_network(file: Group) -> Network | None:
    """Read ``/network``; None when the run has none yet.

    Raises
    ------
    StoreError
        When a part is missing or does not fit the others.
    """
    if "network" not in file.members:
        return None
    group = file.group("network")
    matrices = [name for name, member in group.members.items() if isinstance(member, Group) and name != "genes"]
    vectors = [name for name in group.members if name not in matrices and name != "genes"]
    weights: dict[str, Any] = {name: _list(group, name, "f") for name in vectors}
    if len({vector.dtype for vector in weights.values()}) != 1:
        raise StoreError("/network: there are no vectors, or they do not fit each other")
    lengths, dtype = _lengths(weights), weights[vectors[0]].dtype
    masks: dict[str, np.ndarray] = {}
    for name in matrices:
        weights[name], masks[name] = _matrix(group.group(name), name, lengths, dtype)
    genes = tuple(read_table(group, "genes").get("name", ())) if "genes" in group.members else ()
    if genes and (len(genes) not in lengths or not all(isinstance(gene, str) for gene in genes)):
        raise StoreError(f"/network/genes: {len(genes)} names, which is the length of no vector")
    epoch = group.attribute("epoch", int)
    return Network(epoch=epoch, weights=weights, masks=masks, genes=genes)


def _lengths(weights: Mapping[str, Any]) -> set[int]:
    return {int(weight.size) for weight in weights.values() if weight.ndim == 1}


def _list(group: Group, name: str, kind: str) -> np.ndarray:
    """Return an array of one axis, of whole ("i") or IEEE ("f") numbers: all arrays of a network are such lists."""
    values = read_array(group, name)
    if values.ndim != 1 or values.dtype.kind != kind:
        found = f"{values.dtype} of shape {values.shape}"
        raise StoreError(f"{group.below(name)}: {found} where a list of {_KINDS[kind]} numbers belongs")
    return values


def _matrix(tensor: Group, name: str, lengths: set[int], dtype: np.dtype) -> tuple[Any, np.ndarray]:
    """Return a matrix and its mask."""
    row, col, shape = (_list(tensor, part, "i") for part in ("row", "col", "shape"))
    value = _list(tensor, "value", "f")
    # Cut before it is listed: a list of numbers takes far more memory than the array of them.
    if shape.size != 2 or not set(shape.tolist()) <= lengths:
        raise StoreError(f"/network/{name}: cannot have shape {shape[:4].tolist()}: no vector is as long")
    expected: tuple[int, int] = tuple(shape.tolist())
    if not row.shape == col.shape == value.shape:
        raise StoreError(f"/network/{name}: row, col, value and shape do not fit each other")
    if value.dtype != dtype:
        raise StoreError(f"/network/{name}: value is {value.dtype} where vectors are {dtype}")
    if row.size and (min(row.min(), col.min()) < 0 or row.max() >= expected[0] or col.max() >= expected[1]):
        raise StoreError(f"/network/{name}: an index lies outside {expected}")
    spread = expected[0] * expected[1] * (dtype.itemsize + 1)
    # Few entries may claim any size: what is far larger spread out than as it stands stays as it stands.
    sparse = spread > _SPREAD_BYTES and spread > _SPREAD_SHARE * (row.nbytes + col.nbytes + value.nbytes)
    if sparse or _is_one(tensor.attrs.get("compressed")):
        matrix = csr_array((value, (row, col)), shape=expected)
        if matrix.nnz != value.size:
            raise StoreError(f"/network/{name}: an entry is there twice")
        return matrix, np.ones(value.shape, dtype=bool)
    mask = np.zeros(expected, dtype=bool)
    mask[row, col] = True
    if np.count_nonzero(mask) != value.size:
        raise StoreError(f"/network/{name}: an entry is there twice")
    dense = np.zeros(expected, dtype=dtype)
    dense[row, col] = value
    return dense, mask


def _is_one(value: Any) -> bool:
    return isinstance(value, int) and value == 1
