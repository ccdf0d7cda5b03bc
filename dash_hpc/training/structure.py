"""The structure of a model: shapes of its tensors, and which entries the compressed ones store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.ops.checks import check_csr
from dash_hpc.ops.state import Tensors

__all__ = ["has_structure", "put_structure", "shapes_of", "take_structure"]


def shapes_of(tensors: Tensors) -> dict[str, list[int]]:
    """Return the shape of every tensor."""
    return {name: list(tensor.shape) for name, tensor in tensors.items()}


def has_structure(tensors: Tensors, usual: Tensors) -> bool:
    """Return whether two models have the same structure: names, shapes, compressed or not, stored entries."""
    if shapes_of(tensors) != shapes_of(usual):
        return False
    for name, tensor in tensors.items():
        other = usual[name]
        if isinstance(tensor, csr_array) != isinstance(other, csr_array):
            return False
        parts = ("indptr", "indices") if isinstance(tensor, csr_array) else ()
        if not all(np.array_equal(getattr(tensor, part), getattr(other, part)) for part in parts):
            return False
    return True


def put_structure(arrays: dict[str, np.ndarray], part: str, tensors: Tensors, usual: Tensors) -> dict[str, Any] | None:
    """Add to ``arrays`` what tells the structure of ``tensors``; return the shapes, None when it is the usual one."""
    if has_structure(tensors, usual):
        return None
    for name, tensor in tensors.items():
        if isinstance(tensor, csr_array):
            for key in ("indptr", "indices"):
                arrays[f"structure/{part}/{name}/{key}"] = getattr(tensor, key).copy()
    return shapes_of(tensors)


def take_structure(
    arrays: Mapping[str, np.ndarray], part: str, shapes: Mapping[str, Any] | None, usual: Tensors, dtype: np.dtype
) -> Tensors:
    """Return tensors of the structure that :func:`put_structure` wrote down; their values do not matter.

    Raises
    ------
    KeyError, TypeError, ValueError, UsageError
        When it is not complete, or no structure of a model.
    """
    if shapes is None:
        return usual
    found: dict[str, Any] = {}
    for name in usual:
        shape = tuple(int(size) for size in shapes[name])
        indptr = arrays.get(f"structure/{part}/{name}/indptr")
        if indptr is None:
            found[name] = np.zeros(shape, dtype=dtype)
            continue
        indices = arrays[f"structure/{part}/{name}/indices"]
        found[name] = csr_array((np.zeros(len(indices), dtype=dtype), indices, indptr), shape=shape)
        check_csr(found[name], name)
    return found
