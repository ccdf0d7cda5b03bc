"""Splits: by index, by fraction, by held-out pairs."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.data import TimeCourse
from dash_hpc.data.splits import split_by_index, split_fraction, split_pairs
from dash_hpc.errors import DataError
from dash_hpc.rng import stream


def many(n: int = 20) -> TimeCourse:
    return TimeCourse.from_arrays([[[k, k], [k + 0.5, k]] for k in range(n)], [[0, 1]] * n)


def long(n: int = 50) -> TimeCourse:
    return TimeCourse.from_arrays([np.arange(2.0 * n).reshape(n, 2)], [np.arange(n)])


def pair_set(course: TimeCourse) -> set[tuple[float, float]]:
    pairs = course.pairs()
    return set(zip(pairs.t0.tolist(), pairs.t1.tolist(), strict=True))


def test_by_index() -> None:
    train, validation = split_by_index(many(5), [3, 0])
    assert [t.values[0, 0] for t in validation.trajectories] == [3, 0]
    assert [t.values[0, 0] for t in train.trajectories] == [1, 2, 4]


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([5], r"validation trajectories is wrong: trajectory index 5 is not in 0\.\.4"),
        ([1, 1], r"validation trajectories \[1, 1\] repeat an index"),
        ([], "validation takes 0 of 5 trajectories"),
        ([0, 1, 2, 3, 4], "validation takes 5 of 5 trajectories; at least one must be left on either side"),
    ],
)
def test_by_index_refuses(indices: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_by_index(many(5), indices)


def test_by_fraction_is_a_partition_and_follows_the_stream() -> None:
    train, validation, note = split_fraction(many(), 0.2, stream(0, "validation-split"))
    held = [int(t.values[0, 0]) for t in validation.trajectories]
    assert len(held) == 4
    assert held == sorted(held)
    assert sorted(held + [int(t.values[0, 0]) for t in train.trajectories]) == list(range(20))
    assert note == f"validation trajectories (from 0): {', '.join(map(str, held))}"
    assert split_fraction(many(), 0.2, stream(0, "validation-split"))[2] == note
    notes = {split_fraction(many(), 0.2, stream(seed, "validation-split"))[2] for seed in range(5)}
    assert len(notes) > 1


@pytest.mark.parametrize(("fraction", "held"), [(0.001, 1), (0.999, 19)])
def test_a_fraction_leaves_at_least_one_on_either_side(fraction: float, held: int) -> None:
    train, validation, _ = split_fraction(many(), fraction, stream(0, "s"))
    assert len(validation) == held
    assert len(train) == 20 - held


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 2, float("nan")])
def test_the_fraction_lies_between_0_and_1(fraction: float) -> None:
    with pytest.raises(DataError, match="the validation fraction must be between 0 and 1"):
        split_fraction(many(), fraction, stream(0, "s"))


def test_a_single_trajectory_is_split_by_pairs() -> None:
    train, validation, note = split_fraction(long(), 0.1, stream(0, "s"))
    assert len(validation.pairs()) == 5
    assert len(train.pairs()) == 44
    assert note.startswith("validation pairs (start point, from 0): ")


@pytest.mark.parametrize("held", [1, 8, 48])
def test_pairs_are_a_partition(held: int) -> None:
    train, validation, note = split_pairs(long(), held, stream(1, "s"))
    assert len(validation.pairs()) == held
    assert pair_set(train) | pair_set(validation) == pair_set(long())
    assert not pair_set(train) & pair_set(validation)
    assert all(len(t) == 2 for t in validation.trajectories)
    assert all(len(t) >= 2 for t in train.trajectories)
    starts = [int(s) for s in note.split(": ")[1].split(", ")]
    assert starts == validation.pairs().t0.astype(int).tolist()


def test_pairs_of_several_trajectories_with_holes() -> None:
    values = [np.arange(12.0).reshape(6, 2), np.arange(8.0).reshape(4, 2)]
    values[0][2, 0] = np.nan
    course = TimeCourse.from_arrays(values, [range(6), range(10, 14)])
    train, validation, note = split_pairs(course, 3, stream(0, "s"))
    assert len(course.pairs()) == 7  # of 8: at the hole one of two genes is missing, too many for a start
    assert (len(validation.pairs()), len(train.pairs())) == (3, 4)
    assert pair_set(train) | pair_set(validation) == pair_set(course)
    assert all(":" in place for place in note.split(": ", 1)[1].split(", "))


@pytest.mark.parametrize("held", [0, 49, 60])
def test_too_few_pairs(held: int) -> None:
    with pytest.raises(DataError, match=f"cannot hold out {held} of 49 pairs of time points that can be used"):
        split_pairs(long(), held, stream(1, "s"))
