"""The null operator on the device, whose test is the one to copy: the CPU's bits, in any order and company."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dash_hpc.errors import GpuMemoryError, UsageError
from dash_hpc.ops.null import null, null_many

SHAPES = [(), (0,), (1,), (33,), (7, 65), (3, 0), (257, 192)]


def arrays(dtype: Any) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.asarray(rng.normal(size=shape), dtype) for shape in SHAPES]


def same_bits(found: list[np.ndarray], wanted: list[np.ndarray]) -> bool:
    return all(
        (a.tobytes(), a.shape, a.dtype) == (b.tobytes(), b.shape, b.dtype) for a, b in zip(found, wanted, strict=True)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copies_are_those_of_the_cpu(gpu: Any, dtype: Any) -> None:
    given = arrays(dtype)
    found = null_many(given, gpu)
    assert same_bits(found, [null(values) for values in given])
    assert same_bits(found, null_many(given))
    assert not any(np.shares_memory(a, b) for a in found for b in given)


def test_an_array_has_the_bits_it_has_alone(gpu: Any) -> None:
    """More arrays than one launch of the emulation takes."""
    given = arrays(np.float64) * 9
    assert same_bits(null_many(given, gpu), [null_many([values], gpu)[0] for values in given])
    assert null_many([], gpu) == []


def test_bits_depend_on_no_order_of_threads(emulation: Any) -> None:
    for threads, seed in [(0, 1), (32, 2), (1024, 3)]:
        emulation.module.emulate(threads=threads, seed=seed)
        assert same_bits(null_many(arrays(np.float32), emulation), arrays(np.float32))


def test_what_is_wrong_is_refused(gpu: Any) -> None:
    one = np.zeros(3)
    for given, match in [
        ([one, np.arange(3)], "array 1 must be a NumPy array of float32 or float64"),
        ([one, np.float32([1])], "arrays must be all float32 or all float64"),
    ]:
        for device in (gpu, None):
            with pytest.raises(UsageError, match=match):
                null_many(given, device)
    for wrong, match in [
        ([one, None], "array 1 must be a NumPy array, got NoneType"),
        ([one, np.float32([1])], "array 1 must be float64 in the machine's byte order"),
        ([one, np.zeros((4, 4)).T[1:]], "array 1 must be C-contiguous"),
        (one, "arrays must be a list"),
    ]:
        with pytest.raises(UsageError, match=match):
            gpu.call("null_many", wrong)


def test_too_little_memory_is_told(emulation: Any) -> None:
    emulation.module.emulate(memory_bytes=1 << 10)
    with pytest.raises(GpuMemoryError, match="out of memory on the GPU"):
        null_many(arrays(np.float64), emulation)
