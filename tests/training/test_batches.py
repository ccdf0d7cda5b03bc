"""The order of an epoch."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.errors import UsageError
from dash_hpc.rng import stream
from dash_hpc.training import epoch_batches


def split(pointer: np.ndarray, index: np.ndarray) -> list[list[int]]:
    return [part.tolist() for part in np.split(index, pointer[1:-1])]


def test_trajectories_of_unequal_length_come_whole_and_in_random_order() -> None:
    trajectory = np.array([0, 0, 2, 5, 5, 5, 7])  # 1, 3, 4 and 6 have no valid pair
    orders = set()
    for epoch in range(30):
        pointer, index = epoch_batches(trajectory, "trajectory", 99, stream(0, "batch-order", epoch))
        found = split(pointer, index)
        assert sorted(found) == [[0, 1], [2], [3, 4, 5], [6]]
        orders.add(tuple(part[0] for part in found))
    assert len(orders) > 10


@pytest.mark.parametrize(("n", "size", "sizes"), [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 16, [3]), (2, 1, [1, 1])])
def test_single_pairs_without_replacement(n: int, size: int, sizes: list[int]) -> None:
    pointer, index = epoch_batches(np.zeros(n, dtype=int), "single", size, stream(1, "batch-order", 1))
    assert np.diff(pointer).tolist() == sizes
    assert sorted(index.tolist()) == list(range(n))
    assert pointer.dtype == index.dtype == np.int64


def test_orders_belong_to_seed_and_epoch() -> None:
    trajectory = np.arange(50)
    draw = [
        epoch_batches(trajectory, "single", 5, stream(seed, "batch-order", epoch))[1].tolist()
        for seed, epoch in [(0, 1), (0, 1), (0, 2), (1, 1)]
    ]
    assert draw[0] == draw[1]
    assert draw[0] != draw[2]
    assert draw[0] != draw[3]


def test_refusals() -> None:
    with pytest.raises(UsageError, match="batch_size"):
        epoch_batches(np.zeros(3), "single", 0, stream(0, "x"))
    with pytest.raises(UsageError, match="trajectory or single"):
        epoch_batches(np.zeros(3), "all", 1, stream(0, "x"))
