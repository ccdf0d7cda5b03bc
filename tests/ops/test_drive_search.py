"""The search for a gene's regulators from courses on: native and twin are the same; the drive is a ridge regression."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from dash_hpc.errors import UsageError
from dash_hpc.ops.bayes import Slab
from dash_hpc.ops.drive_search import DriveFound, DriveQuestion, RowsPart, columns_of, find_drive, products_of
from dash_hpc.ops.native import _cache as native_cache

#: Parts as (points, trajectories of the block, of the part, rows).
WHOLE, PIECES = [(14, 40, 40, 4)], [(14, 30, 17, 4), (6, 12, 12, 2), (3, 5, 2, 1), (14, 30, 6, 3)]


def question(
    seed: int, genes: int, candidates: int, sizes: list[tuple[int, int, int, int]], *, noise: float = 0.05
) -> DriveQuestion:
    """A sum of three features with a product of two; wrong signs too, and regulators that are moved a little."""
    rng = np.random.default_rng((6, seed, genes))
    chosen = np.sort(rng.permutation(genes)[:candidates])
    three = rng.permutation(candidates)[: min(3, candidates)]
    effects = rng.choice([-1.0, 1.0], len(three)) * rng.uniform(0.5, 1.5, len(three))
    parts = []
    for points, block, n, rows in sizes:
        features = rng.normal(size=(points, block, genes)) * np.geomspace(0.3, 1, points)[:, None, None]
        members, weights = np.sort(rng.permutation(block)[:n]), rng.uniform(0, 1, (rows, points)) / points**0.5
        weights[1:] -= weights[1:].mean(axis=1, keepdims=True)  # a constant drive is in the first row alone
        shift = 0.05 * rng.normal(size=(block, points, candidates)) if seed % 2 else None
        own = features[:, members][:, :, chosen[three]]
        drive = 0.4 + own @ effects + (0.5 * own[..., 0] * own[..., -1] if len(three) else 0.0)
        data = (weights @ drive).T + noise * rng.normal(size=(n, rows))
        parts.append(RowsPart(features, members, weights, data, float(weights[0].sum()), n >= 10, shift))
    sign = rng.integers(-1, 2, candidates)
    draws = np.random.default_rng(seed).random((2, candidates))
    loose = np.where(draws[0] < 0.2 * (seed % 3 == 2), draws[1] / 2, 0.0)
    return DriveQuestion(
        parts, chosen, rng.normal(-3, 1, candidates), sign, loose, three[:1], 1.0, 0.7, 1e-3, 1.0 + 0.2 * (seed % 3),
        seed % 3 == 0, seed % 4 != 3, Slab(-0.3, 0.8, np.log(rng.dirichlet(np.ones(4), 4).T)),
    )  # fmt: skip


@pytest.mark.parametrize(("genes", "candidates"), [(1, 0), (3, 1), (20, 8), (40, 39), (300, 270)])
@pytest.mark.parametrize("sizes", [WHOLE, PIECES], ids=["whole", "pieces"])
def test_native_search_is_its_twin(
    isa: str, genes: int, candidates: int, sizes: list[tuple[int, int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same members and pairs; numbers to 1e-8, for sums have orders of their own."""
    given = [question(seed, genes, candidates, sizes) for seed in range(8)]
    found, again = ([find_drive(one) for one in given] for _ in range(2))
    monkeypatch.setitem(native_cache, "module", None)
    for one, native, same in zip(given, found, again, strict=True):
        twin = find_drive(one)
        assert list(native.members) == list(twin.members)
        assert native.pairs.tolist() == twin.pairs.tolist()
        for name in DriveFound.__dataclass_fields__:
            np.testing.assert_allclose(getattr(native, name), getattr(twin, name), rtol=1e-8, atol=1e-8, err_msg=name)
            assert np.array_equal(getattr(native, name), getattr(same, name)), name


def test_finds_regulators_and_their_product() -> None:
    """Three regulators of 39, whose effects come back; what is shared by all trajectories does not count."""
    given = question(2, 40, 39, WHOLE)
    rng = np.random.default_rng((6, 2, 40))
    rng.permutation(40)
    three = rng.permutation(39)[:3]
    effects = rng.choice([-1.0, 1.0], 3) * rng.uniform(0.5, 1.5, 3)
    given = replace(given, sign=np.zeros(39, dtype=np.int64), start=np.empty(0, dtype=np.int64))
    found = find_drive(given)
    assert sorted(found.members) == sorted(three)
    order = [found.members.tolist().index(place) for place in three]
    assert found.coefficients[order] == pytest.approx(effects, abs=0.05)
    assert found.offset == pytest.approx(0.4, abs=0.05)
    at = sorted((three[0], three[2]))
    product = [
        c for (a, b), c in zip(found.pairs.tolist(), found.pair_coefficients, strict=True) if sorted((a, b)) == at
    ]
    assert product == pytest.approx([0.5], abs=0.08)
    assert len(found.pairs) == 6
    bumped = [replace(part, data=part.data + np.r_[0, 3.0, -2.0, 5.0]) for part in given.parts]
    assert find_drive(replace(given, parts=bumped)).log_bf == pytest.approx(found.log_bf, abs=1e-6)


def test_the_drive_is_the_ridge_regression_of_all_rows_as_measured() -> None:
    """Against one least-squares problem with a row per prior, as NumPy solves it."""
    given = replace(question(1, 20, 8, PIECES), sign=np.zeros(8, dtype=np.int64))
    found = find_drive(given)
    k, q = len(found.members), len(found.pairs)
    assert k >= 3
    assert q >= 6
    design, data = [], []
    for part in given.parts:
        assert part.shift is not None
        features = part.features[:, part.members]
        own = features[:, :, given.candidates] + part.shift[part.members].transpose(1, 0, 2)
        a, b = given.candidates[found.pairs].T
        functions = [np.ones((*features.shape[:2], 1)), own[..., found.members], features[..., a] * features[..., b]]
        rows = np.einsum("ru,unp->nrp", part.weights, np.concatenate(functions, 2))
        rows[:, :, 0] = np.r_[part.constant, np.zeros(len(part.weights) - 1)]
        sd = np.sqrt(np.r_[found.drive_variance, np.full(len(part.weights) - 1, found.other_variance)])
        design.append((rows / sd[:, None]).reshape(-1, 1 + k + q))
        data.append((part.data / sd).ravel())
    # products have a prior of twice the size of a coefficient among as many regulators as there were
    size = 2 * np.exp(given.slab.level - given.slab.slope * np.log(k))
    ridge = np.diag(np.sqrt(np.r_[1e-4, np.full(k, 0.25), np.full(q, size**-2)]))
    want = np.linalg.lstsq(np.r_[(*design, ridge)], np.r_[(*data, np.zeros(1 + k + q))], rcond=None)[0]
    got = np.r_[found.offset, found.coefficients, found.pair_coefficients]
    np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("products", [False, True])
def test_the_evidence_is_that_of_a_normal_distribution(products: bool) -> None:
    """The data are normal, with a covariance from the priors of all columns; centred rows have a dimension less.

    Two answers to the same question differ by the ratio of their densities, variances and prior odds included.
    """
    first = replace(question(2, 20, 8, WHOLE), products=products, inflation=1.0, inflate=False)
    gained, expected = [], []
    for never in (None, 0):
        prior = first.prior.copy()
        if never is not None:
            prior[find_drive(first).members[0]] = -700.0
        given = replace(first, prior=prior, start=np.empty(0, dtype=np.int64))
        found = find_drive(given)
        k, (part,) = len(found.members), given.parts
        rng = np.random.default_rng(3)
        inside = list(found.members)
        drive, others = columns_of(given.parts, given.candidates)
        size = given.slab.size(float(k))
        columns = [(np.full(len(drive), part.constant), np.zeros(len(others)), 1e4)]
        columns += [(drive[:, c], others[:, c], given.loose[c] ** 2) for c in np.flatnonzero(given.loose)]
        if products and inside:
            # pairs are of the members before products came in: the same ones here
            pairs = np.array([(a, c) for i, a in enumerate(inside) for c in inside[i:]])
            a, b = products_of(given.parts, given.candidates[pairs])
            columns += [(a[:, q], b[:, q], (2 * size) ** 2) for q in range(len(pairs))]
        columns += [(drive[:, c], others[:, c], size**2) for c in inside]
        n = part.weights.shape[0] - 1
        # what is left of 40 about their mean
        turn = np.linalg.qr(np.c_[np.ones(40), rng.normal(size=(40, 39))])[0][:, 1:].T
        flat = [np.r_[x, (turn @ y.reshape(n, 40).T).T.ravel()] for x, y, _ in columns]
        data = np.r_[part.data[:, 0], (turn @ part.data[:, 1:]).T.ravel()]
        noise = np.r_[np.full(40, found.drive_variance), np.full(39 * n, found.other_variance)]
        covariance = np.diag(noise) + sum(v * np.outer(x, x) for x, (_, _, v) in zip(flat, columns, strict=True))
        expected.append(multivariate_normal(cov=covariance).logpdf(data) + given.prior[inside].sum())
        gained.append(found.evidence)
    assert gained[0] - gained[1] == pytest.approx(expected[0] - expected[1], rel=1e-8)


def test_a_loose_candidate_needs_more() -> None:
    """With an effect that a loose coefficient of its size explains there is no evidence left for an edge."""
    given = replace(question(1, 20, 8, WHOLE), start=np.empty(0, dtype=np.int64), products=False)
    found = find_drive(given)
    weakest = found.members[np.argmin(np.abs(found.coefficients))]
    loose = np.zeros(8)
    loose[weakest] = np.abs(found.coefficients).min()
    again = find_drive(replace(given, loose=loose))
    assert found.log_bf[weakest] > 20
    assert again.log_bf[weakest] < 2
    others = np.setdiff1d(found.members, [weakest])
    np.testing.assert_allclose(again.log_bf[others], found.log_bf[others], rtol=0.1)


def test_of_which_genes_the_other_columns_are_does_not_matter() -> None:
    """A candidate's numbers have the same bits whichever stand beside it."""
    given = question(4, 300, 270, WHOLE)
    given = replace(given, prior=np.full(270, -1e4), start=np.empty(0, dtype=np.int64), inflate=False)
    few = np.array([3, 90, 200, 269])
    chosen = {name: getattr(given, name)[few] for name in ("candidates", "prior", "sign", "loose")}
    less = replace(given, **chosen)
    one, other = find_drive(given), find_drive(less)
    assert np.array_equal(one.score[few], other.score)
    assert np.array_equal(one.information[few], other.information)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"candidates": np.full(8, 20)}, "candidates"),
        ({"prior": np.full(8, np.nan)}, "prior"),
        ({"prior": np.zeros(7)}, "prior"),
        ({"sign": np.full(8, 2)}, "sign"),
        ({"loose": np.full(8, -0.1)}, "loose"),
        ({"start": np.array([1, 1])}, "start"),
        ({"start": np.array([8])}, "start"),
        ({"drive_variance": 0.0}, "drive_variance"),
        ({"noise": 0.0}, "noise"),
        ({"inflation": 0.5}, "inflation"),
        ({"parts": ()}, "one row"),
        ({"slab": Slab(0.0, 1.0, np.zeros((3, 4)))}, "log_weights"),
    ],
)
def test_what_does_not_fit_is_refused(
    native: bool, change: dict[str, object], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        monkeypatch.setitem(native_cache, "module", None)
    with pytest.raises(UsageError, match=named):
        find_drive(replace(question(0, 20, 8, WHOLE), **change))


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"members": np.full(40, 40)}, "members"),
        ({"weights": np.zeros((4, 13))}, "weights"),
        ({"data": np.zeros((39, 4))}, "data"),
        ({"features": np.zeros((14, 40))}, "features"),
        ({"shift": np.zeros((40, 14, 7))}, "shift"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    native: bool, change: dict[str, np.ndarray], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        monkeypatch.setitem(native_cache, "module", None)
    given = question(0, 20, 8, WHOLE)
    with pytest.raises(UsageError, match=named):
        find_drive(replace(given, parts=[replace(given.parts[0], **change)]))
