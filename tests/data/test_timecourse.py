"""TimeCourse and Pairs: pairs, noise, selection, what from_arrays refuses."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.data import TimeCourse
from dash_hpc.errors import DataError, UsageError
from dash_hpc.rng import stream

NAN = np.nan


def small() -> TimeCourse:
    return TimeCourse.from_arrays(
        [[[1, 10], [2, 20], [3, 30]], [[4, 40], [5, 50]]], [[0, 2, 3], [0, 7]], genes=["A", "B"]
    )


def test_pairs_are_neighbouring_points_with_their_times_and_trajectory() -> None:
    pairs = small().pairs()
    np.testing.assert_array_equal(pairs.y0, [[1, 10], [2, 20], [4, 40]])
    np.testing.assert_array_equal(pairs.y1, [[2, 20], [3, 30], [5, 50]])
    np.testing.assert_array_equal(pairs.t0, [0, 2, 0])
    np.testing.assert_array_equal(pairs.t1, [2, 3, 7])
    np.testing.assert_array_equal(pairs.trajectory, [0, 0, 1])
    assert len(pairs) == 3
    for column in (pairs.y0, pairs.y1, pairs.t0, pairs.t1):
        assert column.dtype == np.float64
        assert column.flags.c_contiguous
    assert pairs.trajectory.dtype == np.int64


def test_pairs_with_a_missing_time_or_too_many_missing_values_are_dropped_and_gaps_not_bridged() -> None:
    values = [[1, 1], [2, 2], [NAN, 3], [4, 4], [5, 5], [6, 6], [7, 7]]
    pairs = TimeCourse.from_arrays([values], [[0, 1, 2, 3, 4, NAN, 6]]).pairs()
    np.testing.assert_array_equal(pairs.t0, [0, 1, 3])
    np.testing.assert_array_equal(pairs.t1, [1, 2, 4])
    np.testing.assert_array_equal(pairs.y0, [[1, 1], [2, 2], [4, 4]])
    np.testing.assert_array_equal(pairs.y1, [[2, 2], [NAN, 3], [5, 5]])


def test_a_single_time_point_gives_no_pairs() -> None:
    pairs = TimeCourse.from_arrays([[[1, 2]]], [[0]]).pairs()
    assert len(pairs) == 0
    assert pairs.y0.shape == (0, 2)


def test_take_keeps_order_and_accepts_masks_and_nothing() -> None:
    pairs = small().pairs()
    np.testing.assert_array_equal(pairs.take([2, 0]).t1, [7, 2])
    np.testing.assert_array_equal(pairs.take(pairs.trajectory == 0).t1, [2, 3])
    assert len(pairs.take([])) == 0
    assert pairs.take([2, 0]).y0.flags.c_contiguous


def test_padding_at_the_end_is_stripped_but_a_hole_is_kept() -> None:
    values = [[1, 1], [NAN, NAN], [3, 3], [NAN, NAN]]
    course = TimeCourse.from_arrays([values], [[0, NAN, 2, NAN]])
    assert len(course.trajectories[0]) == 3
    assert len(course.pairs()) == 0


def test_values_are_copied_and_not_writeable() -> None:
    array = np.ones((3, 2))
    course = TimeCourse.from_arrays([array], [[0, 1, 2]])
    array[:] = 5
    assert course.trajectories[0].values.max() == 1
    with pytest.raises(ValueError, match="read-only"):
        course.trajectories[0].values[0, 0] = 2


def test_default_gene_names() -> None:
    assert TimeCourse.from_arrays([[[1, 2]]], [[0]]).genes == ("gene1", "gene2")


def test_select_keeps_order_and_refuses_what_is_not_there() -> None:
    course = small().select([1, 0])
    np.testing.assert_array_equal(course.trajectories[0].times, [0, 7])
    with pytest.raises(UsageError, match=r"trajectory index 2 is not in 0\.\.1"):
        small().select([2])
    with pytest.raises(UsageError, match=r"is not in 0\.\.1"):
        small().select([-1])
    with pytest.raises(UsageError, match="must be an integer"):
        small().select([True])


def test_noise_reaches_every_value_and_follows_the_stream() -> None:
    rng = np.random.default_rng(0)
    course = TimeCourse.from_arrays([rng.random((40, 50)), rng.random((10, 50))], [range(40), range(10)])
    noisy = course.with_noise(0.025, stream(1, "expression-noise"))
    again = course.with_noise(0.025, stream(1, "expression-noise"))
    other = course.with_noise(0.025, stream(2, "expression-noise"))
    difference = np.concatenate(
        [(a.values - b.values).ravel() for a, b in zip(noisy.trajectories, course.trajectories, strict=True)]
    )
    assert (difference != 0).all()
    # 2500 draws: the standard error of the s.d. is 1.4 %, of the mean 5e-4
    assert difference.std() == pytest.approx(0.025, rel=0.07)
    assert abs(difference.mean()) < 2.5e-3
    for a, b, c in zip(noisy.trajectories, again.trajectories, other.trajectories, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
        assert (a.values != c.values).all()
        assert not a.values.flags.writeable


def test_noise_keeps_missing_values_and_zero_noise_draws_nothing() -> None:
    course = TimeCourse.from_arrays([[[1, NAN], [1, 2]]], [[0, 1]])
    noisy = course.with_noise(0.1, stream(0, "n"))
    np.testing.assert_array_equal(np.isnan(noisy.trajectories[0].values), [[False, True], [False, False]])
    rng = stream(0, "n")
    assert course.with_noise(0, rng) is course
    assert rng.random() == stream(0, "n").random()


@pytest.mark.parametrize("sd", [-0.1, NAN, np.inf])
def test_noise_must_be_a_size(sd: float) -> None:
    with pytest.raises(UsageError, match="expression noise must be a number of 0 or more"):
        small().with_noise(sd, stream(0, "n"))


@pytest.mark.parametrize(
    ("values", "times", "genes", "message"),
    [
        ([], [], None, "one array per trajectory, got 0 and 0"),
        ([[[1, 2]]], [[0], [1]], None, "one array per trajectory, got 1 and 2"),
        ([[1, 2]], [[0, 1]], None, r"values must be \[T, G\] and times \[T\].*got \[2\] and \[2\]"),
        ([[[1, 2]]], [[0, 1]], None, r"trajectory 0: .*got \[1, 2\] and \[2\]"),
        ([[[1, 2]], [[1, 2, 3]]], [[0], [0]], None, "trajectory 1 has 3 genes, but trajectory 0 has 2"),
        ([[[1, 2]]], [[0]], ["A"], "1 gene names for 2 genes"),
        ([[[1, 2]]], [[0]], ["A", "A"], "gene names must be distinct, but A occurs more than once"),
        ([[[1, 2], [1, 2]]], [[0, 0]], None, r"trajectory 0: time 0 \(time point 2\) repeats the time before it"),
        ([[[1, 2], [1, 2]]], [[3, 1]], None, r"trajectory 0: time 1 \(time point 2\) comes after 3; .*strictly"),
        ([[[1, 2], [1, 2], [1, 2]]], [[3, NAN, 1]], None, r"time 1 \(time point 3\) comes after 3"),
        ([[[1, NAN]], [[1, NAN]]], [[0], [0]], ["A", "B"], "gene B has no value in any trajectory; remove the gene"),
        ([[[1, np.inf]]], [[0]], ["A", "B"], "trajectory 0: gene B is infinite at time point 1"),
        ([[[1, 2]]], [[np.inf]], None, "trajectory 0: time 1 is infinite"),
        ([[[1, 2]]], [[NAN]], None, "trajectory 0: the line of times is empty"),
    ],
)
def test_from_arrays_refuses(values: list, times: list, genes: list | None, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        TimeCourse.from_arrays(values, times, genes)
    assert "\n" not in str(caught.value)
