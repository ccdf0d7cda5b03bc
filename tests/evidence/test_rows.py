"""Start-free rows: exact for drives whose courses are known in closed form, and blind to the start."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from dash_hpc.data import TimeCourse
from dash_hpc.evidence import rows as rows_module
from dash_hpc.evidence.blocks import blocks_of, grid_of
from dash_hpc.evidence.rows import Parts, drive_weights, parts_of, row_basis

TIMES = [np.array([0, 2, 3, 7, 9.0]), np.array([0, 0.013, 1.2, 5.7]), np.array([0, 0.4])]
RATES = [1e-9, 1e-4, 0.2, 0.99, 5.0, 40.0]


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("rate", RATES)
def test_weights_of_constant_and_linear_drives_are_exact(times: np.ndarray, rate: float) -> None:
    grid, at = grid_of(times)
    weights = drive_weights(rate, grid, at)
    rise = -np.expm1(-rate * times)
    np.testing.assert_allclose(weights.sum(axis=1), rise, rtol=1e-12, atol=1e-15)
    # t - (1 - exp(-v t)) / v, which cancels where v t is small
    x = rate * times
    linear = np.where(x > 1e-2, times - rise / rate, times * x * (1 / 2 - x / 6 + x**2 / 24 - x**3 / 120))
    np.testing.assert_allclose(weights @ grid, linear, rtol=1e-10, atol=1e-14)


def test_weights_are_the_integral_of_a_broken_line() -> None:
    grid, at = grid_of(TIMES[1])
    values = np.random.default_rng(0).random(len(grid))
    weights = drive_weights(1.7, grid, at)
    for k, t in enumerate(TIMES[1]):
        expected, _ = quad(
            lambda s, t=t: 1.7 * np.exp(-1.7 * (t - s)) * np.interp(s, grid, values), 0, t, points=grid, limit=200
        )
        assert weights[k] @ values == pytest.approx(expected, abs=1e-10)


def test_many_rates_at_once_are_each_alone() -> None:
    grid, at = grid_of(TIMES[0])
    together = drive_weights(np.array(RATES), grid, at)
    for k, rate in enumerate(RATES):
        assert np.array_equal(together[k], drive_weights(rate, grid, at))


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("rate", [0.0, *RATES])
def test_the_basis_is_orthonormal_and_starts_with_the_drive(times: np.ndarray, rate: float) -> None:
    start, rows = row_basis(rate, times)
    whole = np.column_stack([start, rows])
    np.testing.assert_allclose(whole.T @ whole, np.eye(len(times)), atol=1e-12)
    fall = np.exp(-rate * times)
    np.testing.assert_allclose(rows.T @ fall, 0, atol=1e-12)
    constant = rows.T @ (1 - fall)
    np.testing.assert_allclose(constant[1:], 0, atol=1e-12)
    assert constant[0] > 0 or rate < 1e-6


def test_rows_of_planted_courses_are_those_of_their_drives() -> None:
    """Trajectories of different times, values missing at random, a drive that is a broken line; any start."""
    rng = np.random.default_rng(3)
    clocks = [np.array([0, 1, 2.5, 4, 9])] * 12 + [np.array([0, 0.7, 3, 6])] * 3 + [np.array([0, 5.0])]
    rate, values, drives = 0.8, [], []
    for clock in clocks:
        grid, at = grid_of(clock)
        drive = rng.random(len(grid))
        course = rng.normal() * np.exp(-rate * clock) + drive_weights(rate, grid, at) @ drive
        values.append(course[:, None])
        drives.append(drive)
    for k, point in ((0, 0), (0, 3), (5, 0), (5, 3), (12, 1)):
        values[k][point] = np.nan
    values[15][1] = np.nan
    blocks = blocks_of(TimeCourse.from_arrays(values, clocks), unit=1.0)
    parts = parts_of(blocks, 0, rate)
    seen = []
    for part in parts:
        block = blocks[part.block]
        numbers = block.trajectories[part.members]
        seen += numbers.tolist()
        drive = np.stack([drives[k] for k in numbers])
        np.testing.assert_allclose(part.z, drive @ part.weights.T @ part.rows, atol=1e-12)
        np.testing.assert_allclose(np.ones(len(block.grid)) @ part.weights.T @ part.rows, part.constant, atol=1e-12)
        np.testing.assert_allclose(part.fall @ part.rows, 0, atol=1e-12)
        assert part.rows.shape == (len(part.points), len(part.points) - 1)
        assert part.centred == (len(numbers) >= 10)
    # trajectory 15 has one value left: no row
    assert sorted(seen) == list(range(15))
    assert sorted(len(part.members) for part in parts) == [1, 2, 2, 10]


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_rows_are_the_same_whether_there_is_room_for_them_or_not(
    missing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 9, 60))
    values = rng.random((60, 5))
    values[rng.random((60, 5)) < missing] = np.nan
    blocks = blocks_of(TimeCourse.from_arrays([values], [times]))
    rates = np.array([0.5, 1.0, 2.0, 0.0, 0.5])
    one = 8 * 60 * (2 * 60 + len(blocks[0].grid))
    monkeypatch.setattr(rows_module, "_AT_ONCE", 2 * one)  # two at a time
    for room in (2**28, int(2.5 * one), 0):
        kept = Parts(blocks, [4, 0, 1, 2], rates, room=room)
        assert list(kept) == [4, 0, 1, 2]
        for gene in (2, 0, 1, 4, 1):
            for part, alone in zip(kept[gene], parts_of(blocks, gene, float(rates[gene])), strict=True):
                for name in ("points", "fall", "start", "rows", "weights", "constant", "z"):
                    np.testing.assert_allclose(getattr(part, name), getattr(alone, name), rtol=0, atol=1e-13)
        assert kept[1] is kept[1]
        with pytest.raises(KeyError):
            kept[3]
    whole = Parts(blocks, [4, 0], rates)
    assert bool(missing) or np.shares_memory(whole[4][0].rows, whole[0][0].rows)
