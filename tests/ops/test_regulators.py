"""The search for the regulators of a target, against densities of normal distributions written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from dash_hpc.errors import UsageError
from dash_hpc.ops.bayes import WIDTHS, Slab
from dash_hpc.ops.native import _cache as native_cache
from dash_hpc.ops.regulators import MEMBER_PRECISION, Found, Question, find_regulators

INTERCEPT_PRECISION = 1e-4

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
        z_a,
        z_b,
        n_b,
        constant[:, None],
        np.zeros((n_b, 1)),
        np.array([INTERCEPT_PRECISION]),
        a,
        b,
        np.full(candidates, -2.0),
        np.zeros(candidates, dtype=np.int64),
        Slab(),
        floor,
        floor,
    )


def test_finds_the_regulators_and_the_noise() -> None:
    found = find_regulators(question(0, effects={2: 1.0, 5: -0.6}), [], 1.0, 1.0)
    assert sorted(found.members) == [2, 5]
    order = np.argsort(found.members)
    assert np.allclose(found.coefficients[1:][order], [1.0, -0.6], atol=0.15)
    assert found.coefficients[0] == pytest.approx(0.4, abs=0.2)
    # three standard errors of a variance from 30 and 70 values
    assert found.drive_variance == pytest.approx(0.09, rel=3 * np.sqrt(2 / 30))
    assert found.other_variance == pytest.approx(0.09, rel=3 * np.sqrt(2 / 70))
    assert (np.delete(found.log_bf, [2, 5]) < 2).all()


def test_a_wrong_start_is_left() -> None:
    clear = question(1, effects={3: 1.0})
    assert list(find_regulators(clear, [0, 1, 6], 1.0, 1.0).members) == [3]


def fixed(given: Question, members: list[int], variance: float) -> Question:
    """The question with exactly these members, whatever the data say, and a variance that stays."""
    prior = np.full(len(given.prior), NEVER)
    prior[members] = ALWAYS
    return replace(given, prior=prior, drive_floor=variance, other_floor=variance)


def log_density(given: Question, members: list[int], variance: float, width: dict[int, float]) -> float:
    """ln p(z) with normal coefficients; ``width``: their standard deviations, for members by their precision."""
    n_a, n_b = len(given.drive_data), len(given.other_data)
    covariance = np.zeros((n_a + n_b, n_a + n_b))
    covariance[np.diag_indices(n_a + n_b)] = variance
    intercept = np.concatenate([given.fixed_drive[:, 0], np.zeros(n_b)])
    covariance += np.outer(intercept, intercept) / INTERCEPT_PRECISION
    for place in {*members, *width}:
        column = np.concatenate([given.drive[:, place], given.others[:, place]])
        covariance += np.outer(column, column) * width.get(place, MEMBER_PRECISION**-0.5) ** 2
    z = np.concatenate([given.drive_data, given.other_data])
    return float(multivariate_normal.logpdf(z, np.zeros(len(z)), covariance))


@pytest.mark.parametrize("members", [[], [2], [2, 5, 0]])
def test_factors_are_ratios_of_densities(members: list[int]) -> None:
    """Of members as of candidates: p(z | others and this one) / p(z | others), the slab's widths mixed."""
    variance = 2.0
    given = fixed(question(2, effects={2: 1.0, 5: -0.6, 7: 0.2}), members, variance)
    found = find_regulators(given, members, variance, variance)
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
    before = find_regulators(fixed(base, [2, 5], 0.5), [2, 5], 0.5, 0.5)
    after = find_regulators(fixed(base, [2, 5, 7], 0.5), [2, 5, 7], 0.5, 0.5)
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
        drive_data=given.drive_data + 0.8 * product[0][:, 0],
        other_data=given.other_data + 0.8 * product[1][:, 0],
    )
    assert sorted(find_regulators(given, [], 1.0, 1.0).members) == [0, 1]
    given = replace(
        given,
        fixed_drive=np.concatenate([given.fixed_drive, product[0]], axis=1),
        fixed_others=np.concatenate([given.fixed_others, product[1]], axis=1),
        fixed_precision=np.array([INTERCEPT_PRECISION, 0.25]),
    )
    found = find_regulators(given, [1], 1.0, 1.0)
    assert list(found.members) == [1]
    assert found.coefficients[1] == pytest.approx(0.8, abs=0.2)


def test_variance_counts_what_was_fitted() -> None:
    """Over many targets without regulators the variance of the rows is met on average."""
    a, b = [], []
    for seed in range(60):
        found = find_regulators(question(100 + seed, candidates=1, rows=(8, 30)), [], 1.0, 1.0)
        a.append(found.drive_variance)
        b.append(found.other_variance)
    for variances, n in ((a, 7), (b, 30)):
        error = 0.09 * np.sqrt(2 / n / len(variances))
        assert np.mean(variances) == pytest.approx(0.09, abs=3.5 * error)


def test_order_of_candidates_does_not_matter() -> None:
    given = question(5, effects={2: 1.0, 5: -0.6})
    order = np.random.default_rng(1).permutation(8)
    other = replace(given, drive=given.drive[:, order], others=given.others[:, order])
    one, two = find_regulators(given, [], 1.0, 1.0), find_regulators(other, [], 1.0, 1.0)
    assert list(order[two.members]) == list(one.members)
    assert np.allclose(two.log_bf, one.log_bf[order], rtol=0, atol=1e-9)


def test_without_candidates_there_is_an_offset() -> None:
    found = find_regulators(question(6, candidates=0), [], 1.0, 1.0)
    assert len(found.members) == 0
    assert found.coefficients[0] == pytest.approx(0.4, abs=0.25)


def random_question(seed: int, candidates: int, fixed: int) -> Question:
    """Several regulators of any strength, known signs of which some are wrong, and fixed columns."""
    rng = np.random.default_rng((21, seed))
    effects = {int(place): float(rng.normal()) for place in rng.permutation(candidates)[:5]}
    given = question(seed, candidates=candidates, effects=effects, rows=(int(rng.integers(1, 50)), 90))
    more = rng.normal(size=(2, 90, fixed))
    sign = np.sign(rng.normal(size=candidates)).astype(np.int64) * rng.integers(0, 2, candidates)
    return replace(
        given,
        fixed_drive=np.concatenate([given.fixed_drive, more[0][: len(given.drive_data)]], axis=1),
        fixed_others=np.concatenate([given.fixed_others, more[1]], axis=1),
        fixed_precision=np.append(given.fixed_precision, np.full(fixed, 0.3)),
        free_others=87,
        sign=sign,
        drive_floor=0.05,
        inflation=float(rng.choice([1.0, 1.3])),
        slab=Slab(-0.3, 0.8, np.log(rng.dirichlet(np.ones(4), 4).T)),
    )


@pytest.mark.parametrize("candidates", [0, 1, 3, 8, 17, 130])
@pytest.mark.parametrize("fixed", [0, 2, 7])
def test_native_search_is_its_twin(isa: str, candidates: int, fixed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same members; numbers to 1e-9, for sums have orders of their own."""
    given = [random_question(seed, candidates, fixed) for seed in range(8)]
    starts: list[list[int]] = [list(range(min(seed, candidates))) for seed in range(8)]
    found = [find_regulators(one, start, 1.0, 0.7) for one, start in zip(given, starts, strict=True)]
    again = [find_regulators(one, start, 1.0, 0.7) for one, start in zip(given, starts, strict=True)]
    monkeypatch.setitem(native_cache, "module", None)
    for one, start, native, same in zip(given, starts, found, again, strict=True):
        twin = find_regulators(one, start, 1.0, 0.7)
        assert list(native.members) == list(twin.members)
        for name in Found.__dataclass_fields__:
            assert np.allclose(getattr(native, name), getattr(twin, name), rtol=1e-9, atol=1e-9), name
            assert np.array_equal(getattr(native, name), getattr(same, name)), name


def test_score_far_from_the_known_sign(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ln of the normal distribution function where it is tiny: to −1e4 nats."""
    given = question(7, effects={3: 4.0}, noise=0.01, floor=1e-4)
    given = replace(given, prior=np.full(8, NEVER), sign=np.full(8, -1))
    found = find_regulators(given, [], 1e-4, 1e-4).log_bf
    monkeypatch.setitem(native_cache, "module", None)
    twin = find_regulators(given, [], 1e-4, 1e-4).log_bf
    assert twin.min() < -1
    assert np.allclose(found, twin, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "start", "named"),
    [
        ({"drive": np.zeros((30, 3))}, [], "drive"),
        ({"others": np.zeros((2, 8))}, [], "others"),
        ({"prior": np.full(8, np.nan)}, [], "prior"),
        ({"sign": np.full(8, 2)}, [], "sign"),
        ({"fixed_precision": np.zeros(1)}, [], "fixed_precision"),
        ({"free_others": -1}, [], "free_others"),
        ({"drive_floor": 0.0}, [], "drive_floor"),
        ({"other_floor": -1.0}, [], "other_floor"),
        ({"inflation": 0.5}, [], "inflation"),
        ({"slab": Slab(log_weights=np.zeros((3, 4)))}, [], "log_weights"),
        ({}, [8], "start"),
        ({}, [1, 1], "start"),
    ],
)
def test_what_is_no_question_is_refused(change: dict, start: list[int], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        find_regulators(replace(question(0), **change), start, 1.0, 1.0)


@pytest.mark.parametrize("variance", [0.0, -1.0, float("nan"), float("inf")])
def test_variances_to_begin_with(variance: float) -> None:
    with pytest.raises(UsageError, match="variance"):
        find_regulators(question(0), [], variance, 1.0)
    with pytest.raises(UsageError, match="variance"):
        find_regulators(question(0), [], 1.0, variance)
