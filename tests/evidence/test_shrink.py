"""Shrinkage towards the common mean: right on average for values that were drawn from the model."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.evidence.shrink import shrink


def test_planted_mean_and_variance_come_back_and_errors_fall() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(1.5, 0.3, 40_000)
    variances = rng.uniform(0.02, 0.5, 40_000)
    found = shrink(truth + rng.normal(0, np.sqrt(variances)), variances)
    assert found.mean == pytest.approx(1.5, abs=0.03)
    assert np.sqrt(found.variance) == pytest.approx(0.3, rel=0.05)
    error = ((found.values - truth) ** 2).mean()
    # the posterior variance of the model that they were drawn from
    assert error == pytest.approx((1 / (1 / variances + 1 / 0.3**2)).mean(), rel=0.05)


def test_values_that_do_not_differ_all_get_the_mean() -> None:
    found = shrink(np.array([1.0, 1.1, 0.9]), np.array([1.0, 1.0, 1.0]))
    assert found.variance == 0
    np.testing.assert_allclose(found.values, 1.0, rtol=1e-15)


def test_one_value_stays() -> None:
    assert shrink(np.array([2.0]), np.array([0.1])).values.tolist() == [2.0]


def test_a_precise_value_hardly_moves() -> None:
    found = shrink(np.array([0.0, 1.0, 2.0, 5.0]), np.array([0.01, 0.01, 0.01, 1e-9]))
    assert found.values[3] == pytest.approx(5.0, abs=1e-6)
