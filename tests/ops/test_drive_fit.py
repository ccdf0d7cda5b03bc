"""The fit of a drive: native and twin are the same, what is refused. tests/evidence/test_fit.py has the optimum."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.errors import UsageError
from dash_hpc.ops.drive_fit import Piece, fit_drive
from dash_hpc.ops.native import _cache as native_cache


def pieces(seed: int, k: int, sizes: list[tuple[int, int, int]]) -> list[Piece]:
    """Rows of a drive with a product, as (points, trajectories, rows), with noise."""
    rng = np.random.default_rng((5, seed))
    slopes, powers = 0.4 * rng.normal(size=k), rng.normal(size=k)
    found = []
    for points, n, r in sizes:
        courses = rng.uniform(0, 1, (points, n, k))
        weights = rng.uniform(0, 1, (r, points)) / points
        u = courses - 0.5
        feature = u / (1 + np.abs(u))
        drive = 0.3 + feature @ slopes + 0.3 * np.exp(np.log1p(feature) @ powers)
        found.append(Piece(courses, 40 * weights, 40 * (weights @ drive) + rng.normal(size=(r, n))))
    return found


@pytest.mark.parametrize("k", [0, 1, 2, 5, 13])
@pytest.mark.parametrize("sizes", [[(14, 33, 4)], [(1, 9, 1)], [(14, 20, 4), (6, 1, 3), (1, 7, 4)]])
def test_native_fit_is_its_twin(
    isa: str, k: int, sizes: list[tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optima to what ends a search, a ten-thousandth of the cost; sums to 1e-8."""
    given = [pieces(seed, k, sizes) for seed in range(3)]
    found, again = ([fit_drive(one) for one in given] for _ in range(2))
    monkeypatch.setitem(native_cache, "module", None)
    for one, native, same in zip(given, found, again, strict=True):
        twin = fit_drive(one)
        np.testing.assert_allclose(native.sums, twin.sums, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(native.whole, twin.whole, rtol=0, atol=1e-3)
        np.testing.assert_allclose(native.gained, twin.gained, rtol=0, atol=1e-3)
        assert np.array_equal(native.whole, same.whole)
        assert np.array_equal(native.sums, same.sums)


def test_a_product_that_overflows_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slopes of a million about a mean of 0: powers that make numbers beyond all others. No evidence for a product."""
    courses = np.linspace(0.1, 0.9, 12).reshape(1, 12, 1)
    u = courses[0, :, 0] - 0.5
    rows = np.array([[1e4]])
    given = [Piece(courses, rows, rows * (1e6 * u / (1 + np.abs(u)))[None])]
    found = fit_drive(given)
    monkeypatch.setitem(native_cache, "module", None)
    twin = fit_drive(given)
    assert found.gained == twin.gained == -np.inf
    assert not found.whole.any()
    assert found.sums[1] == pytest.approx(1e6, rel=1e-3)
    np.testing.assert_allclose(found.sums, twin.sums, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rows": np.zeros((4, 3))}, "rows"),
        ({"data": np.zeros((4, 3))}, "data"),
        ({"courses": np.zeros((14, 9))}, "courses"),
        ({"courses": np.full((14, 9, 2), "x")}, "courses"),
    ],
)
def test_what_does_not_fit_is_refused(
    native: bool, change: dict[str, np.ndarray], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        monkeypatch.setitem(native_cache, "module", None)
    parts = {"courses": np.zeros((14, 9, 2)), "rows": np.zeros((4, 14)), "data": np.zeros((4, 9))}
    with pytest.raises(UsageError, match=named):
        fit_drive([Piece(**(parts | change))])
    with pytest.raises(UsageError, match="equally many"):
        fit_drive([Piece(**parts), Piece(np.zeros((14, 9, 3)), parts["rows"], parts["data"])])
    with pytest.raises(UsageError, match="at least one"):
        fit_drive([])
