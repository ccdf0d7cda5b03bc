"""Rates and first courses: those of the specification on SIM350, the planted ones elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.data import TimeCourse
from dash_hpc.evidence import relaxation as relaxation_module
from dash_hpc.evidence.blocks import blocks_of
from dash_hpc.evidence.noise import estimate_noise
from dash_hpc.evidence.relaxation import Relaxation, relax
from tests.evidence.conftest import Sim350
from tests.evidence.planted import Planted, irregular, relaxing


def found(course: TimeCourse) -> Relaxation:
    blocks = blocks_of(course)
    return relax(blocks, estimate_noise(blocks))


def errors(planted: Planted, relaxation: Relaxation) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square error (G,) of the courses where values were measured, and of those values."""
    blocks = blocks_of(planted.course)
    ours: list[np.ndarray] = []
    theirs: list[np.ndarray] = []
    for block, course in zip(blocks, relaxation.courses, strict=True):
        for k, number in enumerate(block.trajectories):
            truth = planted.truth[number]
            ours.append(np.where(block.observed[k], (course[k][block.at] - truth) ** 2, np.nan))
            theirs.append((block.values[k] - truth) ** 2)
    return np.sqrt(np.nanmean(np.concatenate(ours), axis=0)), np.sqrt(np.nanmean(np.concatenate(theirs), axis=0))


def test_sim350_rates_and_levels(sim350: Sim350) -> None:
    """All genes of SIM350 relax with rate 1; the specification allows 1.5 % for what is common to them."""
    noise = estimate_noise(blocks_of(sim350.noisy.train))
    relaxation = found(sim350.noisy.train)
    assert np.exp(relaxation.mean) == pytest.approx(1.0, rel=0.015)
    assert (relaxation.rates[noise.constant] == 0).all()
    moving = relaxation.rates[~noise.constant]
    assert 0.75 < moving.min() <= moving.max() < 1.3
    level = sim350.clean[:, 0, noise.constant]
    error = np.sqrt(((relaxation.courses[0][:, 0, noise.constant] - level) ** 2).mean())
    assert error < 0.0113  # s.d. of a mean of 5: 0.0112; the specification's smoothing starts from these


def test_sim350_is_the_direct_fit(sim350: Sim350) -> None:
    """Courses by least squares, gene by gene, as the specification writes them."""
    y = np.stack([trajectory.values for trajectory in sim350.noisy.train.trajectories])
    blocks = blocks_of(sim350.noisy.train)
    times, grid = blocks[0].times, blocks[0].grid
    noise, relaxation = estimate_noise(blocks), found(sim350.noisy.train)
    bent = 0
    for gene in np.flatnonzero(~noise.constant):
        v = relaxation.rates[gene]

        def basis(t: np.ndarray, terms: int, v: float = v) -> np.ndarray:
            return np.stack([np.ones_like(t), np.exp(-v * t), t * np.exp(-v * t)], axis=1)[:, :terms]

        coefficients, *_ = np.linalg.lstsq(basis(times, 2), y[:, :, gene].T)
        left = ((y[:, :, gene].T - basis(times, 2) @ coefficients) ** 2).sum() / (3 * len(y))
        terms = 2 if left < 1.3 * noise.variance else 3
        bent += terms == 3
        coefficients, *_ = np.linalg.lstsq(basis(times, terms), y[:, :, gene].T)
        expected = (basis(grid, terms) @ coefficients).T
        np.testing.assert_allclose(relaxation.courses[0][:, :, gene], expected, atol=1e-10)
    assert bent > 5


@pytest.mark.parametrize("missing", [0.0, 0.15])
def test_planted_rates_come_back_from_irregular_times(missing: float) -> None:
    rng = np.random.default_rng(1)
    rates = np.r_[np.zeros(12), np.exp(rng.uniform(np.log(0.5), np.log(2), 40))]
    planted = relaxing(irregular(80, longest=9), rates=rates, noise=0.01, missing=missing)
    unit = np.median([t.times[-1] - t.times[0] for t in planted.course.trajectories]) / 9
    relaxation = found(planted.course)
    moving = rates > 0
    off = np.log(relaxation.rates[moving] / (rates[moving] * unit))
    assert np.abs(off).max() < 0.1
    assert np.abs(off).mean() < 0.03
    assert (relaxation.rates[~moving] == 0).all()
    ours, theirs = errors(planted, relaxation)
    assert (ours < theirs).all()


@pytest.mark.parametrize("factor", [60.0, 1 / 24, 3.6e6])
def test_any_unit_of_time_gives_the_same(factor: float) -> None:
    clocks = irregular(30, longest=7, seed=2)
    rates = np.r_[0, 0, np.linspace(0.5, 2, 10)]
    one = relaxing(clocks, rates=rates, noise=0.02)
    values = [trajectory.values for trajectory in one.course.trajectories]
    other = TimeCourse.from_arrays(values, [clock * factor for clock in clocks])
    a, b = found(one.course), found(other)
    np.testing.assert_allclose(b.rates, a.rates, rtol=1e-9)
    for x, y in zip(a.courses, b.courses, strict=True):
        np.testing.assert_allclose(y, x, atol=1e-9)


def test_genes_in_another_order_are_in_that_order() -> None:
    planted = relaxing(irregular(20, longest=6), rates=np.r_[0, 0, np.linspace(0.5, 2, 9)], noise=0.02, missing=0.1)
    order = np.random.default_rng(0).permutation(11)
    turned = TimeCourse.from_arrays(
        [t.values[:, order] for t in planted.course.trajectories], [t.times for t in planted.course.trajectories]
    )
    a, b = found(planted.course), found(turned)
    np.testing.assert_allclose(b.rates, a.rates[order], rtol=1e-12)
    for x, y in zip(a.courses, b.courses, strict=True):
        np.testing.assert_allclose(y, x[:, :, order], atol=1e-12)


def test_levels_are_drawn_to_their_mean_by_their_reliability() -> None:
    """Levels that hardly differ are mostly noise; the best linear guess has the error that theory says."""
    rng = np.random.default_rng(4)
    n, points, sd, between = 400, 4, 0.05, 0.02
    level = 0.5 + between * rng.standard_normal((n, 1, 30))
    values = level + sd * rng.standard_normal((n, points, 30))
    relaxation = found(TimeCourse.from_arrays(list(values), [np.arange(points)] * n))
    course = relaxation.courses[0]
    assert (np.ptp(course, axis=1) == 0).all()
    error = ((course - level) ** 2).mean()
    assert error == pytest.approx(1 / (1 / between**2 + points / sd**2), rel=0.06)


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_trajectories_keep_their_levels(n: int) -> None:
    planted = relaxing([np.linspace(0, 9, 20)] * n, rates=np.r_[np.zeros(20), np.full(20, 0.8)], noise=0.02)
    ours, theirs = errors(planted, found(planted.course))
    assert np.mean(ours**2) < 0.4 * np.mean(theirs**2)


def test_before_its_first_value_a_gene_stays() -> None:
    times = np.array([0, 1, 2, 5, 9.0])
    planted = relaxing([times] * 30, rates=np.r_[np.zeros(6), np.full(20, 2.0)], noise=0.01)
    # on the grid 0, .25, …, 1, 1.5, …, 3, 4, 5, … the time 5 is number 10
    values = [trajectory.values.copy() for trajectory in planted.course.trajectories]
    values[0][:3, 10] = np.nan
    values[1][:, 11] = np.nan
    values[2][:4, 12] = np.nan
    course = found(TimeCourse.from_arrays(values, [times] * 30)).courses[0]
    assert np.ptp(course[0, :11, 10]) == 0
    assert abs(course[0, 0, 10] - values[0][3, 10]) < 0.1
    # no value at all: the mean of the gene; one value: that value
    assert np.ptp(course[1, :, 11]) == 0
    assert course[1, 0, 11] == pytest.approx(np.nanmean([v[:, 11] for v in values]), rel=1e-12)
    np.testing.assert_allclose(course[2, :, 12], values[2][4, 12], atol=1e-12)
    assert np.isfinite(course).all()


def test_nothing_moves_and_nothing_is_known() -> None:
    still = TimeCourse.from_arrays([np.full((3, 2), 0.4)] * 2, [[0, 1, 2]] * 2)
    assert found(still).rates.tolist() == [0, 0]
    two = TimeCourse.from_arrays([np.array([[0.0, 1.0], [1.0, 0.0]])] * 2, [[0, 1]] * 2)
    assert np.isfinite(found(two).courses[0]).all()


def test_genes_in_pieces_give_what_all_at_once_give(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = relaxing(irregular(6, longest=12), rates=np.array([0.0, 0.5, 1.0, 2.0, 0.7]), noise=0.02, missing=0.1)
    whole = found(planted.course)
    monkeypatch.setattr(relaxation_module, "_AT_ONCE", 48 * 12 * 2)
    pieces = found(planted.course)
    np.testing.assert_array_equal(pieces.rates, whole.rates)
    for one, other in zip(pieces.courses, whole.courses, strict=True):
        np.testing.assert_array_equal(one, other)
