"""Noise and constant genes: found on SIM350 and where they were planted."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.data import TimeCourse
from dash_hpc.evidence.blocks import blocks_of
from dash_hpc.evidence.noise import estimate_noise, moving_where_listed
from tests.evidence.conftest import Sim350
from tests.evidence.planted import irregular, relaxing


def test_the_73_inputs_of_sim350_and_its_noise_are_found(sim350: Sim350) -> None:
    """Inputs: genes that do not move in the data without noise."""
    noise = estimate_noise(blocks_of(sim350.noisy.train))
    still = np.ptp(sim350.clean, axis=1).max(axis=0) == 0
    assert still.sum() == 73
    assert np.array_equal(noise.constant, still)
    assert np.sqrt(noise.variance) == pytest.approx(0.025, rel=0.02)


def test_it_is_the_formula_of_the_specification_where_all_is_complete() -> None:
    planted = relaxing([np.array([0, 1, 4, 9.0])] * 30, rates=np.repeat([0, 1.0], 8), noise=0.1)
    y = np.stack([trajectory.values for trajectory in planted.course.trajectories])
    within, late = y.var(axis=1, ddof=1).mean(axis=0), 0.5 * ((y[:, -1] - y[:, -2]) ** 2).mean(axis=0)
    noise = estimate_noise(blocks_of(planted.course))
    np.testing.assert_allclose(noise.within, within, rtol=1e-12)
    np.testing.assert_allclose(noise.late, late, rtol=1e-12)
    assert np.array_equal(noise.constant, within <= 2 * late)
    assert noise.variance == pytest.approx(within[noise.constant].mean(), rel=1e-12)


@pytest.mark.parametrize("missing", [0.0, 0.15])
@pytest.mark.parametrize("sd", [0.01, 0.05])
def test_irregular_times_and_missing_values(missing: float, sd: float) -> None:
    rates = np.r_[np.zeros(30), np.full(40, 1.5)]
    planted = relaxing(irregular(60, longest=8), rates=rates, noise=sd, missing=missing)
    noise = estimate_noise(blocks_of(planted.course))
    assert np.array_equal(noise.constant, rates == 0)
    assert np.sqrt(noise.variance) == pytest.approx(sd, rel=0.03)


@pytest.mark.parametrize("n", [1, 3])
def test_few_trajectories_with_many_points(n: int) -> None:
    rates = np.r_[np.zeros(40), np.full(40, 0.6)]
    planted = relaxing([np.linspace(0, 9, 30)] * n, rates=rates, noise=0.02)
    noise = estimate_noise(blocks_of(planted.course))
    moved = np.ptp(np.concatenate(planted.truth), axis=0) > 10 * planted.noise
    assert noise.constant[rates == 0].mean() >= 0.9
    assert not noise.constant[(rates > 0) & moved].any()
    assert np.sqrt(noise.variance) == pytest.approx(0.02, rel=0.1)


def test_without_constant_genes_the_last_differences_speak() -> None:
    planted = relaxing([np.array([0, 1, 2, 8, 9.0])] * 50, rates=np.full(60, 2.0), noise=0.03)
    noise = estimate_noise(blocks_of(planted.course))
    assert not noise.constant.any()
    assert np.sqrt(noise.variance) == pytest.approx(0.03, rel=0.15)


def test_no_noise_has_a_floor_and_a_gene_never_seen_twice_says_nothing() -> None:
    values = [np.array([[0.5, 0.1], [0.5, np.nan], [0.5, np.nan]])] * 3
    noise = estimate_noise(blocks_of(TimeCourse.from_arrays(values, [[0, 1, 2]] * 3)))
    assert noise.variance == 1e-8
    assert noise.constant.tolist() == [True, True]


@pytest.mark.parametrize("n", [3, 12])
def test_few_trajectories_do_not_say_that_a_listed_gene_stays(n: int) -> None:
    """Genes of noise alone, one of them never seen twice; of every other one the prior has a regulator."""
    values = 0.5 + 0.05 * np.random.default_rng(2).standard_normal((n, 12, 8))
    values[:, 1:, 7] = np.nan
    found = estimate_noise(blocks_of(TimeCourse.from_arrays(list(values), [np.arange(12.0)] * n)))
    assert found.constant[[1, 3, 7]].all()
    moving = moving_where_listed(found, np.array([0, 1, 0, 2, 0, 1, 0, 1]))
    doubted = np.array([False, n < 10, False, n < 10, False, n < 10, False, False])
    np.testing.assert_array_equal(moving.constant, found.constant & ~doubted)
    assert moving.variance == found.variance
