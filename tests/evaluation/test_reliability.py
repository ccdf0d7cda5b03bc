"""Calibration, false discoveries, edge classes: brute force over all pairs, and simulations whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.errors import UsageError
from dash_hpc.evaluation import class_share, realised_fdr, reliability


def test_calibration_is_that_of_all_pairs_spread_out():
    rng = np.random.default_rng(0)
    p = np.where(rng.random(400) < 0.6, 0.0, rng.integers(1, 6, 400) / 5)
    y = rng.random(400) < p * 0.7 + 0.05
    listed = p > 0
    found = reliability(p[listed], y[listed], n_real=int(y.sum()), n_pairs=400)
    assert found.brier == pytest.approx(np.mean((p - y) ** 2))
    assert found.brier_base == pytest.approx(np.var(y))
    gaps = {value: (np.abs(value - y[p == value].mean()), (p == value).sum()) for value in np.unique(p)}
    assert found.ece == pytest.approx(sum(gap * n for gap, n in gaps.values()) / 400)
    above = [pair for value, pair in gaps.items() if value > 0]
    assert found.ece_listed == pytest.approx(sum(gap * n for gap, n in above) / sum(n for _, n in above))
    np.testing.assert_allclose(found.probability, np.unique(p))
    assert found.count.tolist() == [n for _, n in gaps.values()]


def test_calibrated_probabilities_have_no_error_and_keep_their_share_of_false_discoveries():
    rng = np.random.default_rng(1)
    p = rng.beta(0.4, 0.4, 40_000)
    y = rng.random(40_000) < p
    found = reliability(p, y, n_real=int(y.sum()), n_pairs=40_000)
    assert found.ece < 0.01
    assert found.brier == pytest.approx(np.mean(p * (1 - p)), abs=0.005)
    for one in realised_fdr(p, y):
        assert one.expected == pytest.approx(one.nominal, abs=0.001)
        assert one.realised == pytest.approx(one.nominal, abs=0.01)
    # Twice as sure as it should be: what is real half as often is found to be.
    sure = realised_fdr(p, rng.random(40_000) < p / 2)
    assert all(one.realised == pytest.approx(1 - (1 - one.nominal) / 2, abs=0.02) for one in sure)


def test_edges_of_one_probability_are_taken_together():
    p = np.array([1.0, 1.0, 0.9, 0.9, 0.5])
    y = np.array([True, False, True, True, True])
    taken = {one.nominal: one for one in realised_fdr(p, y, (0.0, 0.04, 0.05, 0.13, 0.14))}
    assert [taken[k].n_taken for k in (0.0, 0.04, 0.05, 0.13, 0.14)] == [2, 2, 4, 4, 5]  # expected: 0, 0.05, 0.14
    assert taken[0.05].realised == 0.25
    assert taken[0.05].threshold == 0.9
    none = realised_fdr(np.array([0.5]), np.array([True]), (0.1,))[0]
    assert none.n_taken == 0
    assert np.isnan(none.realised)


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match=r"in \[0, 1\]"):
        reliability([1.2], [True], n_real=1, n_pairs=4)
    with pytest.raises(UsageError, match="no more pairs"):
        reliability([0.2] * 5, [False] * 5, n_real=1, n_pairs=4)


def test_a_model_that_knows_the_margins_alone_finds_what_chance_finds():
    """All of two regulators × all of five targets: rewired edges stay inside, so the model has as much of them."""
    n = 12
    regulator, target = np.array([0, 0, 1, 1, 1]), np.array([4, 5, 6, 7, 8])
    block = np.array([t * n + r for t in range(4, 9) for r in (0, 1)])
    found = class_share(regulator, target, (np.sort(block), np.full(10, 0.6)), n)
    assert (found.n, found.share, found.null, found.null_sd, found.p) == (5, pytest.approx(0.6), pytest.approx(0.6),
                                                                          pytest.approx(0), 1.0)  # fmt: skip
    exact = np.sort(target * n + regulator)
    knows = class_share(regulator, target, (exact, np.ones(5)), n)
    # Which two of the five targets are the first regulator's: ten ways, of which sharing two, one or none of the pairs
    # leaves 5, 3 or 1 of 5 edges right, with 1, 6 and 3 chances of ten.
    assert knows.share == 1.0
    assert knows.null == pytest.approx((1 * 5 + 6 * 3 + 3 * 1) / 50, abs=0.08)
    assert 0.02 < knows.p < 0.25
    assert class_share([], [], (exact, np.ones(5)), n) is None
    assert class_share(regulator, target, ([], []), n).share == 0.0
