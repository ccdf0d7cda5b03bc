"""The null operator: it copies an array. A new operator begins as a copy of it (docs/extend/operator.md)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dash_hpc.errors import UsageError
from dash_hpc.ops.checks import as_array
from dash_hpc.ops.cuda import Gpu
from dash_hpc.ops.native import native_module

__all__ = ["null", "null_many"]


def null(values: np.ndarray) -> np.ndarray:
    """Return a copy of ``values``, float32 or float64 of any shape.

    Raises
    ------
    UsageError
        When it is no such array.
    """
    given = _checked(values, "values")
    native = native_module()
    found: np.ndarray = given.copy() if native is None else native.null(given)
    return found


def null_many(arrays: Sequence[np.ndarray], gpu: Gpu | None = None) -> list[np.ndarray]:
    """Do what :func:`null` does for many arrays of one dtype: on a GPU in one launch, a block to an array.

    Raises
    ------
    UsageError
        Before anything is computed, when one is no such array or their dtypes differ.
    GpuUnavailable, GpuMemoryError, GpuFault
    """
    given = [_checked(values, f"array {number}") for number, values in enumerate(arrays)]
    if len({values.dtype for values in given}) > 1:
        raise UsageError("arrays must be all float32 or all float64")
    if gpu is None:
        return [null(values) for values in given]
    found: list[np.ndarray] = gpu.call("null_many", given)
    return found


def _checked(values: np.ndarray, name: str) -> np.ndarray:
    if not isinstance(values, np.ndarray) or values.dtype not in (np.float32, np.float64):
        raise UsageError(f"{name} must be a NumPy array of float32 or float64")
    return as_array(values, values.dtype, name)
