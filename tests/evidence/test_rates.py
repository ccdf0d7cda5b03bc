"""Rates follow the data once the drives are known."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.evidence.rates import update_rates
from tests.evidence.networks import TIMES, block, simulate, state, target

SD = 0.01


def problem(rates: np.ndarray, n: int = 200, seed: int = 0) -> tuple[object, np.ndarray, list[np.ndarray]]:
    """40 genes, each driven by two of 10 constant ones, and their courses without noise."""
    rng = np.random.default_rng(seed)
    targets = []
    for gene in range(10, 50):
        a, b = rng.choice(10, 2, replace=False)
        coefficients = rng.choice([-1, 1], 2) * rng.uniform(0.4, 0.9, 2)
        targets.append(
            target(
                gene, dict(zip((int(a), int(b)), coefficients, strict=True)), drive_variance=SD**2, other_variance=SD**2
            )
        )
    known = state(50, targets, SD**2)
    clean = simulate(known, rates, rng.uniform(0, 1, (n, 50)), TIMES)
    found = block(clean + rng.normal(0, SD, clean.shape))
    courses = np.repeat(clean[:, :1], len(found.grid), axis=1)
    return known, found, [courses]  # type: ignore[return-value]


@pytest.mark.parametrize("spread", [0.0, 0.4])
def test_rates_are_found_and_so_is_their_spread(spread: float) -> None:
    rng = np.random.default_rng(7)
    truth = np.r_[np.zeros(10), np.exp(rng.normal(0.1, spread, 40))]
    known, found, courses = problem(truth)
    rates = np.r_[np.zeros(10), truth[10:] * np.exp(rng.normal(0, 0.1, 40))]
    for _ in range(4):
        rates, mean, between = update_rates([found], known, courses, rates)  # type: ignore[list-item, arg-type]
    off = np.log(rates[10:] / truth[10:])
    assert np.sqrt((off**2).mean()) < 0.02
    assert mean == pytest.approx(np.log(truth[10:]).mean(), abs=0.01)
    assert between == pytest.approx(
        np.log(truth[10:]).std(ddof=1), abs=0.01 + 0.15 * spread
    )  # by moments, rates weighed
    np.testing.assert_array_equal(rates[:10], 0.0)


def test_a_gene_without_rows_keeps_its_rate() -> None:
    truth = np.r_[np.zeros(10), np.ones(40)]
    known, found, courses = problem(truth, n=30)
    values = found.values.copy()  # type: ignore[attr-defined]
    values[:, 1:, 12] = np.nan
    given = np.r_[np.zeros(10), np.full(40, 1.3)]
    rates, _, _ = update_rates([block(values)], known, courses, given)  # type: ignore[arg-type]
    assert rates[12] == 1.3
    assert abs(rates[13] - 1) < 0.15
