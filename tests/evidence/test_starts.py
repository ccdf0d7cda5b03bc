"""Smoothed starts are nearer to the truth than measured ones, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dash_hpc.data import DataSet, TimeCourse
from dash_hpc.evidence.starts import smoothing, with_starts
from tests.evidence.conftest import Sim350
from tests.evidence.planted import Planted, irregular, relaxing

RATES = np.r_[np.zeros(10), np.linspace(0.5, 2, 20)]


def divided(planted: Planted, held: int, **more: str) -> DataSet:
    """The last trajectories validate."""
    n = len(planted.course)
    return DataSet(
        "planted",
        planted.course.select(range(n - held)),
        planted.course.select(range(n - held, n)),
        test=planted.course.select([0]),
        **more,  # type: ignore[arg-type]
    )


def start_errors(course: TimeCourse, truth: list[np.ndarray]) -> np.ndarray:
    """Mean squared error (G,) of what steps start from, where a value was measured."""
    errors = [
        np.where(np.isnan(t.values), np.nan, (t.starts - x) ** 2)
        for t, x in zip(course.trajectories, truth, strict=True)
    ]
    return np.nanmean(np.concatenate(errors), axis=0)


def test_sim350_starts_have_less_noise(sim350: Sim350) -> None:
    dataset = with_starts(replace(sim350.noisy, starts="smoothed"))
    error = start_errors(dataset.train, list(sim350.clean))
    still = np.ptp(sim350.clean, axis=1).max(axis=0) == 0
    # a mean of five has a fifth of the variance, a curve of two or three terms half of it
    assert error[still].mean() == pytest.approx(0.025**2 / 5, rel=0.05)
    assert error[~still].mean() < 0.6 * 0.025**2


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_planted_starts_have_less_noise_in_both_parts(missing: float) -> None:
    planted = relaxing(irregular(60, longest=9), rates=RATES, noise=0.03, missing=missing)
    plain = divided(planted, 12)
    smooth = with_starts(replace(plain, starts="smoothed"))
    for part, truth in (("train", planted.truth[:48]), ("validation", planted.truth[48:])):
        before, after = start_errors(getattr(plain, part), truth), start_errors(getattr(smooth, part), truth)
        assert after.mean() < 0.6 * before.mean()
        assert (after < before).mean() > 0.9


def test_only_starts_change() -> None:
    planted = relaxing(irregular(20, longest=6), rates=RATES, noise=0.03, missing=0.1)
    plain = divided(planted, 5)
    assert with_starts(plain) is plain
    asked = replace(plain, starts="smoothed")
    smooth = with_starts(asked)
    assert with_starts(asked) is smooth
    assert with_starts(smooth) is smooth
    for part in ("train", "validation"):
        one, other = getattr(plain, part).pairs(), getattr(smooth, part).pairs()
        for column in ("y1", "t0", "t1", "trajectory"):
            np.testing.assert_array_equal(getattr(one, column), getattr(other, column))
        assert not np.array_equal(one.y0, other.y0)
        assert np.isfinite(other.y0).all()
    assert smooth.test is plain.test
    assert smooth.time_unit == plain.time_unit


def test_training_starts_do_not_see_the_validation_part() -> None:
    planted = relaxing(irregular(20, longest=6), rates=RATES, noise=0.03)
    one = divided(planted, 5)
    held = [(0.1 + 2 * t.values, t.times) for t in one.validation.trajectories]
    other = replace(one, validation=TimeCourse.from_arrays(*zip(*held, strict=True), one.genes))
    for a, b in zip(smoothing(one).train.trajectories, smoothing(other).train.trajectories, strict=True):
        np.testing.assert_array_equal(a.starts, b.starts)
    np.testing.assert_array_equal(smoothing(one).rates, smoothing(other).rates)


def test_a_gene_that_no_curve_follows_starts_where_it_was_measured() -> None:
    times = np.linspace(0, 9, 7)
    planted = relaxing([times] * 30, rates=RATES, noise=0.02)
    values = [t.values.copy() for t in planted.course.trajectories]
    phase = np.random.default_rng(0).uniform(0, 6, 30)
    for k, value in enumerate(values):
        value[:, 15] += 0.4 * np.sin(0.6 * times + phase[k])
    course = TimeCourse.from_arrays(values, [times] * 30)
    found = smoothing(DataSet("wave", course.select(range(20)), course.select(range(20, 30))))
    assert found.measured == 1
    for trajectory, value in zip(found.train.trajectories, values, strict=False):
        np.testing.assert_array_equal(trajectory.starts[:, 15], value[:, 15])
        assert not np.array_equal(trajectory.starts[:, 14], value[:, 14])


def test_rows_without_a_time_keep_their_starts() -> None:
    times = np.array([0, 1, 3, 9.0])
    planted = relaxing([times] * 20, rates=RATES, noise=0.02)
    clocks = [times.copy() for _ in range(20)]
    clocks[3][2] = np.nan
    course = TimeCourse.from_arrays([t.values for t in planted.course.trajectories], clocks)
    found = smoothing(DataSet("gap", course.select(range(15)), course.select(range(15, 20))))
    starts, values = found.train.trajectories[3].starts, course.trajectories[3].values
    assert starts is not None
    np.testing.assert_array_equal(starts[2], values[2])
    assert not np.array_equal(starts[1], values[1])


def test_where_all_validate_that_train_the_starts_are_the_same() -> None:
    course = relaxing(irregular(10, longest=6), rates=RATES, noise=0.02).course
    found = smoothing(DataSet("all", course, course))
    assert found.validation is found.train
