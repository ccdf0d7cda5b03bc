"""The null operator, whose test is the one to copy: the twin, every instruction set, what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dash_hpc.errors import UsageError
from dash_hpc.ops.native import _cache as native_cache
from dash_hpc.ops.null import null


@pytest.mark.parametrize("shape", [(), (0,), (1,), (33,), (7, 65)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_copy_is_equal_and_apart(isa: str, dtype: Any, shape: tuple[int, ...], monkeypatch: Any) -> None:
    values = np.random.default_rng(0).normal(size=shape).astype(dtype)
    found = null(values)
    monkeypatch.setitem(native_cache, "module", None)
    twin = null(values)
    assert found.tobytes() == twin.tobytes() == values.tobytes()
    assert (found.shape, found.dtype) == (values.shape, values.dtype)
    assert not np.shares_memory(found, values)


@pytest.mark.parametrize("values", [np.arange(3), [1.0], None])
def test_what_is_no_such_array_is_refused(values: Any) -> None:
    with pytest.raises(UsageError, match="values must be a NumPy array of float32 or float64"):
        null(values)
