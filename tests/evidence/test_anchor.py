"""Levels that left their scale come back to it, and others stay."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.evidence.anchor import unbent

NOISE, TIMES = 0.025**2, 5


def levels(n: int, bend: object, precision: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Truth, own means, what others say (bent), and the posterior that takes both for unbent."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 1, n)
    own = truth + rng.normal(0, np.sqrt(NOISE / TIMES), n)
    others = truth + bend(truth) + rng.normal(0, precision**-0.5, n)  # type: ignore[operator]
    information = np.full(n, TIMES / NOISE)
    level = (information * own + precision * others) / (information + precision)
    return truth, own, level, 1 / (information + precision), information


def rms(error: np.ndarray) -> float:
    return float(np.sqrt((error**2).mean()))


@pytest.mark.parametrize("precision", [1e5, 1e6], ids=["some say", "much say"])
def test_a_bend_is_taken_out(precision: float) -> None:
    truth, own, level, variance, information = levels(140, lambda x: 0.04 * (x - 0.5) ** 2 - 0.01 * x, precision)
    found = level + unbent(level, variance, own, information)
    assert rms(level - truth) > 1.7 * np.sqrt(variance[0])
    assert rms(found - truth) < 1.5 * np.sqrt(variance[0]) + 0.0015
    far = np.polynomial.Polynomial.fit(truth, found - truth, 3)(np.linspace(0, 1, 50))
    assert rms(far) < 0.0025


def test_levels_that_are_right_are_left_alone() -> None:
    for seed in range(5):
        truth, own, level, variance, information = levels(140, np.zeros_like, 1e5, seed)
        moved = unbent(level, variance, own, information)
        assert rms(moved) < 0.0025
        assert rms(level + moved - truth) < 1.1 * rms(level - truth)


def test_own_values_alone_or_few_trajectories_tell_no_bend() -> None:
    for n, precision in ((140, 100.0), (15, 1e5)):
        _, own, level, variance, information = levels(n, lambda x: 0.1 * x, precision)
        np.testing.assert_array_equal(unbent(level, variance, own, information), np.zeros(n))


def test_trajectories_without_own_values_are_corrected_too_little_rather_than_wrongly() -> None:
    truth, own, level, variance, information = levels(140, lambda x: 0.05 * (x - 0.5) ** 2, 1e6)
    information[:40], own[:40] = 0.0, np.nan
    moved = unbent(level, variance, own, information)
    np.testing.assert_array_equal(moved[:40], 0.0)
    assert rms((level + moved - truth)[40:]) < 0.6 * rms((level - truth)[40:])
