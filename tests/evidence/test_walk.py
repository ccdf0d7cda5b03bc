"""Courses of long trajectories: the posterior of the model that they are drawn from, and no cycle is made flat."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.data import DataSet, TimeCourse
from dash_hpc.evidence.blocks import Block, blocks_of
from dash_hpc.evidence.rows import drive_weights
from dash_hpc.evidence.starts import smoothing
from dash_hpc.evidence.walk import walk_courses, walk_ratios

RATE = 0.9


def covariance(grid: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Covariance of ∫ v exp(-v (t - r)) B(r) dr at points of a grid, B a walk that is straight between them."""
    weights = drive_weights(RATE, grid, points)
    return np.asarray(weights @ np.minimum(grid[:, None], grid[None, :]) @ weights.T)


def block(times: np.ndarray, values: np.ndarray) -> Block:
    (found,) = blocks_of(TimeCourse.from_arrays(list(values), [times] * len(values)), unit=1.0)
    return found


def drawn(n: int, genes: int, ratio: float, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, exact courses and measured values of genes whose drive wanders."""
    rng = np.random.default_rng(seed)
    times = np.linspace(0, 9, 28)
    grid = np.linspace(0, 9, 271)
    root = np.linalg.cholesky(covariance(grid, np.arange(10, 271, 10)) + 1e-12 * np.eye(27))
    steps = np.einsum("kl,nlg->nkg", root, rng.standard_normal((n, 27, genes)))
    walk = np.concatenate([np.zeros((n, 1, genes)), steps], axis=1)
    start, level = rng.random((2, n, 1, genes))
    exact = level + (start - level) * np.exp(-RATE * times)[None, :, None] + noise * np.sqrt(ratio) * walk
    return times, exact, exact + noise * rng.standard_normal(exact.shape)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 30.0])
def test_it_is_the_posterior_mean_of_a_gaussian_process(ratio: float) -> None:
    """With a curve whose prior is wide."""
    times, _, measured = drawn(2, 3, 1.0, 0.1, 0)
    measured[0, 5, 1] = np.nan
    one = block(times, measured)
    course = np.zeros((2, len(one.grid), 3))
    walk_courses(one, np.arange(3), np.full(3, ratio), RATE, course)
    for k, gene in ((0, 0), (0, 1), (1, 2)):
        seen = ~np.isnan(measured[k, :, gene])
        curve = np.stack([np.ones(28), np.exp(-RATE * times)], axis=1)
        prior = 1e6 * curve @ curve.T + ratio * covariance(one.grid, one.at)
        expected = prior[:, seen] @ np.linalg.solve(
            prior[np.ix_(seen, seen)] + np.eye(seen.sum()), measured[k, seen, gene]
        )
        np.testing.assert_allclose(course[k][one.at, gene], expected, atol=1e-4)


@pytest.mark.parametrize("ratio", [0.3, 10.0])
def test_how_much_the_drive_wanders_is_told_from_the_data(ratio: float) -> None:
    times, exact, measured = drawn(20, 30, ratio, 0.05, 1)
    one = block(times, measured)
    found = walk_ratios([one], np.arange(30), RATE)
    off = np.log(found / ratio)
    assert abs(off.mean()) < 0.2
    assert np.sqrt((off**2).mean()) < 0.7
    course = np.zeros((20, len(one.grid), 30))
    walk_courses(one, np.arange(30), found, RATE, course)
    best = np.zeros_like(course)
    walk_courses(one, np.arange(30), np.full(30, ratio), RATE, best)
    error, least = (((c[:, one.at] - exact) ** 2).mean() for c in (course, best))
    assert error < 1.05 * least
    assert error < 0.6 * 0.05**2


def test_without_long_trajectories_there_is_nothing_to_tell() -> None:
    times = np.linspace(0, 9, 7)
    one = block(times, np.random.default_rng(0).random((3, 7, 2)))
    assert walk_ratios([one], np.arange(2), RATE).tolist() == [0, 0]
    course = np.full((3, len(one.grid), 2), 7.0)
    walk_courses(one, np.arange(2), np.ones(2), RATE, course)
    assert (course == 7).all()


def test_a_cycle_in_one_trajectory_is_not_made_flat() -> None:
    """Log ratios of a cell cycle: two rounds in 24 points, amplitudes of one to five times the noise."""
    rng = np.random.default_rng(2)
    times, noise = np.arange(0.0, 120, 5), 0.2
    amplitude, phase = np.linspace(0.2, 1.0, 100), rng.uniform(0, 2 * np.pi, 100)
    exact = amplitude * np.sin(2 * np.pi * times[:, None] / 60 + phase)
    course = TimeCourse.from_arrays([exact + noise * rng.standard_normal(exact.shape)], [times])
    found = smoothing(DataSet("cycle", course, course))
    error = ((found.train.trajectories[0].starts - exact) ** 2).mean(axis=0)
    assert error[amplitude > 0.4].mean() < 0.6 * noise**2
    assert np.quantile(error[amplitude > 0.4], 0.9) < 1.2 * noise**2
