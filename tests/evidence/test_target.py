"""The search for the regulators of a target, against densities of normal distributions written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from dash_hpc.evidence.columns import Rows
from dash_hpc.evidence.state import WIDTHS, Slab
from dash_hpc.evidence.target import INTERCEPT_PRECISION, MEMBER_PRECISION, Question, search

NEVER, ALWAYS = -1e4, 1e4


def question(
    seed: int,
    *,
    candidates: int = 8,
    effects: dict[int, float] | None = None,
    noise: float = 0.3,
    rows: tuple[int, int] = (30, 70),
    floor: float = 1e-6,
) -> Question:
    rng = np.random.default_rng(seed)
    n_a, n_b = rows
    a, b = rng.normal(size=(n_a, candidates)), 0.5 * rng.normal(size=(n_b, candidates))
    constant = np.full(n_a, 0.9)
    beta = np.zeros(candidates)
    for place, effect in (effects or {}).items():
        beta[place] = effect
    z_a = 0.4 * constant + a @ beta + noise * rng.normal(size=n_a)
    z_b = b @ beta + noise * rng.normal(size=n_b)
    return Question(
        Rows(z_a, z_b, constant, n_b, 5.0),
        a,
        b,
        np.full(candidates, -2.0),
        np.zeros(candidates, dtype=np.int64),
        Slab(),
        floor,
    )


def test_finds_the_regulators_and_the_noise() -> None:
    found = search(question(0, effects={2: 1.0, 5: -0.6}), [], 1.0, 1.0)
    assert sorted(found.members) == [2, 5]
    order = np.argsort(found.members)
    assert np.allclose(found.coefficients[order], [1.0, -0.6], atol=0.15)
    assert found.offset == pytest.approx(0.4, abs=0.2)
    # three standard errors of a variance from 30 and 70 values
    assert found.drive_variance == pytest.approx(0.09, rel=3 * np.sqrt(2 / 30))
    assert found.other_variance == pytest.approx(0.09, rel=3 * np.sqrt(2 / 70))
    assert (np.delete(found.log_bf, [2, 5]) < 2).all()


def test_a_wrong_start_is_left() -> None:
    clear = question(1, effects={3: 1.0})
    assert list(search(clear, [0, 1, 6], 1.0, 1.0).members) == [3]


def fixed(given: Question, members: list[int], variance: float) -> Question:
    """The question with exactly these members, whatever the data say, and a variance that stays."""
    prior = np.full(len(given.prior), NEVER)
    prior[members] = ALWAYS
    return replace(given, prior=prior, floor=variance)


def log_density(given: Question, members: list[int], variance: float, width: dict[int, float]) -> float:
    """ln p(z) with normal coefficients; ``width``: their standard deviations, for members by their precision."""
    n_a, n_b = len(given.rows), len(given.rows.others)
    covariance = np.zeros((n_a + n_b, n_a + n_b))
    covariance[np.diag_indices(n_a + n_b)] = variance
    intercept = np.concatenate([given.rows.constant, np.zeros(n_b)])
    covariance += np.outer(intercept, intercept) / INTERCEPT_PRECISION
    for place in {*members, *width}:
        column = np.concatenate([given.drive[:, place], given.others[:, place]])
        covariance += np.outer(column, column) * width.get(place, MEMBER_PRECISION**-0.5) ** 2
    z = np.concatenate([given.rows.drive, given.rows.others])
    return float(multivariate_normal.logpdf(z, np.zeros(len(z)), covariance))


@pytest.mark.parametrize("members", [[], [2], [2, 5, 0]])
def test_factors_are_ratios_of_densities(members: list[int]) -> None:
    """Of members as of candidates: p(z | others and this one) / p(z | others), the slab's widths mixed."""
    variance = 2.0
    given = fixed(question(2, effects={2: 1.0, 5: -0.6, 7: 0.2}), members, variance)
    found = search(given, members, variance, variance)
    assert list(found.members) == members
    for place in range(8):
        others = [other for other in members if other != place]
        expected = 1 + len(others)
        assert found.expected[place] == pytest.approx(expected, abs=1e-12)
        size = given.slab.size(float(expected))
        kind = min(expected, 4) - 1
        without = log_density(given, others, variance, {})
        parts = [
            given.slab.log_weights[k, kind] + log_density(given, others, variance, {place: size * width}) - without
            for k, width in enumerate(WIDTHS)
        ]
        assert found.log_bf[place] == pytest.approx(np.logaddexp.reduce(parts), abs=1e-8)


def test_member_and_candidate_are_judged_alike() -> None:
    """An edge has the same odds before it is admitted and after."""
    base = question(3, effects={2: 1.0, 5: -0.6, 7: 0.3})
    before = search(fixed(base, [2, 5], 0.5), [2, 5], 0.5, 0.5)
    after = search(fixed(base, [2, 5, 7], 0.5), [2, 5, 7], 0.5, 0.5)
    assert after.score[7] == pytest.approx(before.score[7], abs=1e-9)
    assert after.information[7] == pytest.approx(before.information[7], abs=1e-9)
    assert after.log_bf[7] == pytest.approx(before.log_bf[7], abs=1e-9)


def test_products_take_up_what_is_theirs() -> None:
    """A column that is always in explains its part, so that a candidate that looks like it is not admitted."""
    given = question(4, effects={1: 1.0})
    rng = np.random.default_rng(9)
    product = given.drive[:, :1] + 0.05 * rng.normal(size=(30, 1)), given.others[:, :1] * 1.0
    given = replace(
        given,
        rows=replace(
            given.rows,
            drive=given.rows.drive + 0.8 * product[0][:, 0],
            others=given.rows.others + 0.8 * product[1][:, 0],
        ),
    )
    assert sorted(search(given, [], 1.0, 1.0).members) == [0, 1]
    found = search(given, [1], 1.0, 1.0, product, 0.25)
    assert list(found.members) == [1]
    assert found.product_coefficients == pytest.approx([0.8], abs=0.2)


def test_variance_counts_what_was_fitted() -> None:
    """Over many targets without regulators the variance of the rows is met on average."""
    a, b = [], []
    for seed in range(60):
        found = search(question(100 + seed, candidates=1, rows=(8, 30)), [], 1.0, 1.0)
        a.append(found.drive_variance)
        b.append(found.other_variance)
    for variances, n in ((a, 7), (b, 30)):
        error = 0.09 * np.sqrt(2 / n / len(variances))
        assert np.mean(variances) == pytest.approx(0.09, abs=3.5 * error)


def test_order_of_candidates_does_not_matter() -> None:
    given = question(5, effects={2: 1.0, 5: -0.6})
    order = np.random.default_rng(1).permutation(8)
    other = replace(given, drive=given.drive[:, order], others=given.others[:, order])
    one, two = search(given, [], 1.0, 1.0), search(other, [], 1.0, 1.0)
    assert list(order[two.members]) == list(one.members)
    assert np.allclose(two.log_bf, one.log_bf[order], rtol=0, atol=1e-9)


def test_without_candidates_there_is_an_offset() -> None:
    found = search(question(6, candidates=0), [], 1.0, 1.0)
    assert len(found.members) == 0
    assert found.offset == pytest.approx(0.4, abs=0.25)
