"""Blocks hold every measured value once, and the grid follows the unit of time."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.data import TimeCourse
from dash_hpc.evidence.blocks import blocks_of, grid_of

SIM350 = np.array([0, 2, 3, 7, 9.0])


def test_the_grid_of_sim350_is_that_of_the_specification() -> None:
    grid, at = grid_of(SIM350)
    assert np.array_equal(grid, [0, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9])
    assert np.array_equal(at, [0, 6, 8, 12, 14])


@pytest.mark.parametrize("seed", range(20))
def test_the_grid_holds_the_times_and_its_steps_are_short(seed: int) -> None:
    times = np.r_[0.0, np.sort(np.random.default_rng(seed).uniform(0.001, 12, 6))]
    grid, at = grid_of(times)
    assert np.array_equal(grid[at], times)
    step = np.diff(grid)
    assert (step > 0).all()
    assert (step <= np.where(grid[:-1] < 1, 0.25, np.where(grid[:-1] < 3, 0.5, 1.0)) + 1e-9).all()


def test_a_gap_does_not_make_a_grid_without_end() -> None:
    grid, _ = grid_of(np.array([0, 1, 1e9]))
    assert len(grid) < 100


def test_one_point_is_a_grid() -> None:
    grid, at = grid_of(np.array([0.0]))
    assert grid.tolist() == [0.0]
    assert at.tolist() == [0]


def test_trajectories_with_the_same_times_share_a_block_whatever_the_clock_says() -> None:
    nan = np.nan
    times = [[0, 2, 5], [0, 2], [10, 12, 15], [0, nan, 2], [3]]
    values = [np.arange(3.0 * len(t)).reshape(len(t), 3) + 100 * k for k, t in enumerate(times)]
    blocks = blocks_of(TimeCourse.from_arrays(values, times), unit=2.0)
    assert [block.trajectories.tolist() for block in blocks] == [[0, 2], [1, 3], [4]]
    assert [block.times.tolist() for block in blocks] == [[0, 1, 2.5], [0, 1], [0]]
    assert np.array_equal(blocks[0].values, [values[0], values[2]])
    assert np.array_equal(blocks[1].values, [values[1], values[3][[0, 2]]])
    assert np.array_equal(blocks[2].values, [values[4]])


@pytest.mark.parametrize("factor", [60.0, 1 / 24, 3600.0])
def test_blocks_do_not_depend_on_the_unit_of_the_data(factor: float) -> None:
    times = [np.array([0, 1.5, 4, 9.0]), np.array([1, 2.5, 5, 10.0]), np.array([0, 9.0])]
    values = [np.ones((len(t), 2)) for t in times]
    one = blocks_of(TimeCourse.from_arrays(values, times))
    other = blocks_of(TimeCourse.from_arrays(values, [t * factor for t in times]))
    assert [b.trajectories.tolist() for b in one] == [b.trajectories.tolist() for b in other] == [[0, 1], [2]]
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(b.grid, a.grid, rtol=1e-12, atol=1e-12)
