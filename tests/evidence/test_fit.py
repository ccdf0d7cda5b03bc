"""The drive of a target against other ways to the same optimum, and its evidence against quadrature."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp

from dash_hpc.evidence.fit import Drive, Piece, fit_drive, fit_drives, pieces_of
from dash_hpc.evidence.smooth import smooth
from dash_hpc.evidence.state import phi
from tests.evidence.networks import TIMES, block, parts, simulate, state, target

SD = 0.02


def pieces(drive: object, n: int = 120, k: int = 2, seed: int = 0, split: int = 0) -> list[Piece]:
    """Rows of a drive of k constant regulators, with noise of s.d. ``SD``, in one piece or two."""
    rng = np.random.default_rng(seed)
    levels = rng.uniform(0, 1, (1, n, k))
    gains = np.array([[1.2], [0.0], [0.0], [0.0]])
    data = gains * drive(levels[0])[None] + rng.normal(0, SD, (4, n))  # type: ignore[operator]
    cuts = [slice(0, n)] if not split else [slice(0, split), slice(split, n)]
    return [Piece(levels[:, cut], gains / SD, data[:, cut] / SD) for cut in cuts]


def cost(found: np.ndarray, rows: list[Piece], k: int) -> float:
    """Half of it is the negative log posterior."""
    level, slopes, gain, powers = found[0], found[1 : 1 + k], found[1 + k], found[2 + k :]
    total = level**2 / 100 + (found[1:] ** 2).sum() / 2.25
    for piece in rows:
        features = phi(piece.courses)
        drive = level + features @ slopes + gain * np.exp(np.log1p(features) @ powers)
        total += ((piece.data - piece.rows @ drive) ** 2).sum()
    return float(total)


def parameters(drive: Drive) -> np.ndarray:
    return np.r_[drive.level, drive.slopes, drive.gain, drive.powers]


def both(x: np.ndarray) -> np.ndarray:
    return 0.9 * np.prod((1 + phi(x)) ** np.array([1.5, 1.0]), axis=-1) * 0.6


def either(x: np.ndarray) -> np.ndarray:
    return 1 - both(1 - x)


@pytest.mark.parametrize("truth", [both, either])
def test_a_product_is_found_and_no_search_finds_a_better_one(truth: object) -> None:
    rows = pieces(truth)
    found = fit_drive(np.array([4, 7]), rows)
    assert found.has_product
    assert found.gained > 5
    at = parameters(found)
    rng = np.random.default_rng(1)
    starts = [at, *(at + rng.normal(0, 0.3, at.shape) for _ in range(5))]
    best = min(minimize(cost, start, (rows, 2), method="BFGS", options={"gtol": 1e-6}).fun for start in starts)
    assert cost(at, rows, 2) < best + 0.01
    levels = np.random.default_rng(2).uniform(0, 1, (50, 2))
    np.testing.assert_allclose(found(levels), truth(levels), rtol=0, atol=0.02)  # type: ignore[operator]
    np.testing.assert_allclose(parameters(fit_drive(np.array([4, 7]), pieces(truth, split=50))), at, atol=1e-6)


def test_sums_alone_are_a_ridge_regression() -> None:
    rows = pieces(lambda x: 0.4 + phi(x) @ np.array([0.5, -0.3]))
    found = fit_drive(np.array([1, 2]), rows)
    assert not found.has_product
    assert found.gained < 0
    design = np.concatenate([np.ones((120, 1)), phi(rows[0].courses[0])], 1) * 1.2 / SD
    shrunk = np.concatenate([design, np.diag([0.1, 1 / 1.5, 1 / 1.5])])
    wanted = np.linalg.lstsq(shrunk, np.r_[rows[0].data[0], np.zeros(3)], rcond=None)[0]
    np.testing.assert_allclose([found.level, *found.slopes], wanted, rtol=1e-9)
    np.testing.assert_allclose(found.slopes, [0.5, -0.3], rtol=0, atol=0.03)
    np.testing.assert_array_equal(np.r_[found.gain, found.powers], np.zeros(3))


@pytest.mark.parametrize(
    ("truth", "seed"), [(lambda x: 0.3 + 0.8 * phi(x)[..., 0], 0), (lambda x: 0.2 * (1 + phi(x[..., 0])) ** 3, 1)]
)
def test_the_evidence_is_that_of_quadrature(truth: object, seed: int) -> None:
    """One regulator: kappa, u and gain are integrated in closed form, the power on a grid."""
    rows = pieces(truth, n=60, k=1, seed=seed)
    found = fit_drive(np.array([3]), rows)
    feature = phi(rows[0].courses[0, :, 0])
    data, scale = rows[0].data[0], 1.2 / SD
    linear = np.stack([np.ones_like(feature), feature], 1) * scale
    variance = np.array([100.0, 2.25, 2.25])

    def marginal(design: np.ndarray, widths: np.ndarray) -> float:
        """Log density of the data with coefficients ~ N(0, widths), without constants."""
        precision = design.T @ design + np.diag(1 / widths)
        mean = np.linalg.solve(precision, design.T @ data)
        rest = data @ data - mean @ precision @ mean
        return float(-0.5 * rest - 0.5 * np.linalg.slogdet(precision)[1] - 0.5 * np.log(widths).sum())

    powers = np.linspace(-9, 9, 4001)
    each = [
        marginal(np.column_stack([linear, scale * np.exp(w * np.log1p(feature))]), variance)
        - 0.5 * w**2 / 2.25 - 0.5 * np.log(2 * np.pi * 2.25)
        for w in powers
    ]  # fmt: skip
    wanted = logsumexp(each) + np.log(powers[1] - powers[0]) - marginal(linear, variance[:2])
    # Laplace's approximation counts one of several optima, and takes each for a parabola.
    assert found.gained == pytest.approx(wanted, abs=1.5)
    assert (found.gained > 0) == (wanted > 0)


def test_a_gene_without_regulators_has_a_level() -> None:
    rows = pieces(lambda x: np.full(len(x), 0.37), k=0)
    found = fit_drive(np.empty(0, dtype=np.int64), rows)
    assert found.level == pytest.approx(0.37, abs=0.005)
    assert not found.has_product
    np.testing.assert_allclose(found(np.zeros((5, 0))), np.full(5, found.level))


def test_all_targets_are_fitted_on_courses_without_their_own_data() -> None:
    """A known network of sums is found again; rows of two blocks; a constant regulator needs no grid."""
    noise = 0.01**2
    known = state(5, [target(3, {0: 0.9, 1: -0.5}, 0.6), target(4, {3: 0.8, 2: 0.4}, 0.4)], noise)
    for found in known.targets.values():
        found.drive_variance = found.other_variance = 1.2 * noise
        found.excess = 0.0
    rates = np.array([0.0, 0.0, 0.0, 1.0, 0.8])
    rng = np.random.default_rng(0)
    clean = simulate(known, rates, rng.uniform(0, 1, (200, 5)), TIMES)
    values = clean + rng.normal(0, 0.01, clean.shape)
    blocks = [block(values[:120]), block(values[120:])]
    rows = parts(blocks, known, rates)
    first = [np.repeat(found.values.mean(1)[:, None], len(found.grid), axis=1) for found in blocks]
    smoothed = smooth(blocks, rows, known, rates, first)
    drives = fit_drives(rows, known, smoothed, {3: np.array([1, 0]), 4: np.array([2, 3])})
    assert [drives[gene].regulators.tolist() for gene in (3, 4)] == [[0, 1], [2, 3]]
    for gene, regulators in ((3, [0, 1]), (4, [2, 3])):
        levels = rng.uniform(0.1, 0.9, (50, 2))
        wanted = known.targets[gene].offset + phi(levels) @ [
            dict(zip(known.targets[gene].members, known.targets[gene].coefficients, strict=True))[i] for i in regulators
        ]
        np.testing.assert_allclose(drives[gene](levels), wanted, rtol=0, atol=0.03)
    own = np.array([0, 1])
    constant, spelt = (
        fit_drive(own, pieces_of(known.targets[3], rows[3], smoothed.cavity(3, own), flag)) for flag in (True, False)
    )
    np.testing.assert_allclose(parameters(constant), parameters(spelt), rtol=0, atol=1e-6)
    assert smoothed.drive_uncertainty(4) is not None
