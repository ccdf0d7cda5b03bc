"""The lattice of sparsities."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.errors import UsageError
from dash_hpc.pruning import LatticeSchedule, n_to_prune


def events(schedule: LatticeSchedule, last: int) -> list[int]:
    return [epoch for epoch in range(1, last + 1) if schedule.fraction_at(epoch, last) is not None]


def test_epochs_of_the_paper() -> None:
    assert events(LatticeSchedule(), 200) == [3, *range(10, 200, 10)]
    breast = LatticeSchedule(first_epoch=10, first_fraction=0.9, every=20)
    assert events(breast, 100) == [10, 20, 40, 60, 80]
    assert events(LatticeSchedule(first_epoch=10), 35) == [10, 20, 30]  # event 0 is not doubled
    assert events(LatticeSchedule(every=0), 50) == [3]


def test_fractions() -> None:
    schedule = LatticeSchedule()
    assert schedule.fraction_at(3, 200) == 0.7
    assert schedule.fraction_at(10, 200) == 0.1
    assert schedule.fraction_at(4, 200) is None
    assert schedule.fraction_at(200, 200) is None


@pytest.mark.parametrize(
    ("first", "k", "published"),
    [(0.9, 3, 92.71), (0.9, 8, 95.70), (0.9, 7, 95.22), (0.7, 16, 94.44), (0.7, 17, 95.00), (0.9, 2, 91.90)],
)
def test_sparsities_are_the_published_ones(first: float, k: int, published: float) -> None:
    size = 350 * 40
    active = size - n_to_prune(first, size)
    for _ in range(k):
        active -= n_to_prune(0.1, active)
    assert 100 * (1 - active / size) == pytest.approx(published, abs=0.01)


def test_rounding_goes_to_the_nearest_integer() -> None:
    assert [n_to_prune(0.1, n) for n in (0, 4, 5, 14, 16, 25)] == [0, 0, 0, 1, 2, 2]
    for n in range(200):
        assert abs(n_to_prune(0.7, n) - 0.7 * n) <= 0.5 + 1e-12
    assert isinstance(n_to_prune(0.3, int(np.int64(10))), int)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"fraction": 1.5}, "schedule: fraction = 1.5 must be 0 or larger and smaller than 1"),
        ({"first_fraction": -0.1}, "first_fraction = -0.1 must be"),
        ({"first_epoch": 0}, "first_epoch = 0 must be"),
        ({"every": -1}, "every = -1 must be"),
        ({"evry": 10}, "schedule: unknown key 'evry'; did you mean every?"),
    ],
)
def test_refuses_what_cannot_mean_anything(wrong: dict, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        LatticeSchedule(**wrong)
