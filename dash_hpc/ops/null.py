"""The null operator: it copies an array. A new operator begins as a copy of it (docs/extend/operator.md)."""

from __future__ import annotations

import numpy as np

from dash_hpc.errors import UsageError
from dash_hpc.ops.checks import as_array
from dash_hpc.ops.native import native_module

__all__ = ["null"]


def null(values: np.ndarray) -> np.ndarray:
    """Return a copy of ``values``, float32 or float64 of any shape.

    Raises
    ------
    UsageError
        When it is no such array.
    """
    if not isinstance(values, np.ndarray) or values.dtype not in (np.float32, np.float64):
        raise UsageError("values must be a NumPy array of float32 or float64")
    given = as_array(values, values.dtype, "values")
    native = native_module()
    found: np.ndarray = given.copy() if native is None else native.null(given)
    return found
