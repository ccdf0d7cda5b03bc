"""The kept network of a run: the seven tensors and the active entries, sparse on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from scipy.sparse import csr_array, issparse

from dash_hpc.errors import StoreError
from dash_hpc.store.hdf5 import Group
from dash_hpc.store.schema import PRUNABLE, TENSORS, read_array, read_table, write_array, write_table

__all__ = ["Network", "read_network", "write_network"]

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
        The seven tensors in the run's dtype (float32 or float64): ``W_sums``, ``W_prods`` (m, G), ``U_sums``,
        ``U_prods`` (G, m), ``b_sums``, ``b_prods`` (m,), ``v`` (G,). Entries outside the mask are exactly 0. Matrices
        that were compressed in training are ``csr_array`` of the active entries; so are those that would take more
        than 64 MB, and more than 8 times their entries, spread out.
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
    if group.members.keys() - {*TENSORS, "genes"}:
        raise StoreError(f"/network has parts that are none of {', '.join(TENSORS)}")
    weights: dict[str, Any] = {}
    masks: dict[str, np.ndarray] = {}
    vectors = {name: _list(group, name, "f") for name in TENSORS if name not in PRUNABLE}
    weights |= vectors
    G, m = vectors["v"].size, vectors["b_sums"].size
    if vectors["b_prods"].size != m or len({vector.dtype for vector in vectors.values()}) != 1:
        raise StoreError("/network: v, b_sums and b_prods do not fit each other")
    for name in PRUNABLE:
        shape = (m, G) if name.startswith("W") else (G, m)
        weights[name], masks[name] = _matrix(group.group(name), name, shape, vectors["v"].dtype)
    genes = tuple(read_table(group, "genes").get("name", ())) if "genes" in group.members else ()
    if genes and (len(genes) != G or not all(isinstance(gene, str) for gene in genes)):
        raise StoreError(f"/network/genes: {len(genes)} names where {G} belong")
    epoch = group.attribute("epoch", int)
    ordered = {name: weights[name] for name in TENSORS}
    return Network(epoch=epoch, weights=ordered, masks=masks, genes=genes)


def _list(group: Group, name: str, kind: str) -> np.ndarray:
    """Return an array of one axis, of whole ("i") or IEEE ("f") numbers: all arrays of a network are such lists."""
    values = read_array(group, name)
    if values.ndim != 1 or values.dtype.kind != kind:
        found = f"{values.dtype} of shape {values.shape}"
        raise StoreError(f"{group.below(name)}: {found} where a list of {_KINDS[kind]} numbers belongs")
    return values


def _matrix(tensor: Group, name: str, expected: tuple[int, int], dtype: np.dtype) -> tuple[Any, np.ndarray]:
    """Return a prunable tensor and its mask."""
    row, col, shape = (_list(tensor, part, "i") for part in ("row", "col", "shape"))
    value = _list(tensor, "value", "f")
    # Cut before it is listed: a list of numbers takes far more memory than the array of them.
    if shape.size != 2 or tuple(shape.tolist()) != expected:
        raise StoreError(f"/network/{name}: cannot have shape {shape[:4].tolist()} where v and b mean {expected}")
    if not row.shape == col.shape == value.shape:
        raise StoreError(f"/network/{name}: row, col, value and shape do not fit each other")
    if value.dtype != dtype:
        raise StoreError(f"/network/{name}: value is {value.dtype} where v is {dtype}")
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
