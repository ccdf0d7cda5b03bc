"""How courses move with latents: native and twin, and the twin against the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dash_hpc.errors import UsageError
from dash_hpc.ops.course_moves import course_moves
from dash_hpc.ops.native import _cache as native_cache


def case(n: int, points: int, chosen: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng((8, seed, n, chosen))
    moves: list[Any] = []
    for c in range(chosen):
        latents = rng.permutation(6)[: c % 5]
        moves.append((latents, rng.normal(size=(points, len(latents), n))))
        if c % 4 == 2 and len(latents):
            moves[-1] = (latents[:1], None)
        elif c % 7 == 3:
            moves[-1] = None
    return {
        "step": rng.normal(size=(n, 6)), "points": points, "moves": moves,
        "courses": rng.uniform(0, 1, (n, points, 40)), "genes": rng.permutation(40)[:chosen],
    }  # fmt: skip


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize(("n", "points", "chosen"), [(0, 3, 4), (1, 1, 1), (5, 14, 8), (17, 14, 21), (9, 3, 0)])
def test_native_moves_are_those_of_the_twin(
    isa: str, features: bool, n: int, points: int, chosen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = case(n, points, chosen)
    if not features:
        given |= {"courses": None, "genes": None}
    found = course_moves(**given)
    monkeypatch.setitem(native_cache, "module", None)
    twin = course_moves(**given)
    assert found.shape == twin.shape == (n, points, chosen)
    np.testing.assert_allclose(found, twin, rtol=1e-12, atol=1e-13)


def test_they_are_first_differences() -> None:
    """Linear courses of three latents, and the saturating features of them, by a small step."""
    rng = np.random.default_rng(1)
    n, points, tiny = 4, 5, 1e-6
    slopes, step = rng.normal(size=(points, 3, n)), rng.normal(size=(n, 3))
    base = rng.uniform(0, 1, (n, points, 1))
    moved = base[..., 0] + tiny * np.einsum("urn,nr->nu", slopes, step)

    def feature(x: np.ndarray) -> np.ndarray:
        return (x - 0.5) / (1 + np.abs(x - 0.5))

    moves = [(np.arange(3), slopes)]
    by_course = course_moves(tiny * step, points, moves)[..., 0]
    by_feature = course_moves(tiny * step, points, moves, base, np.array([0]))[..., 0]
    np.testing.assert_allclose(by_course, moved - base[..., 0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(by_feature, feature(moved) - feature(base[..., 0]), rtol=0, atol=1e-10)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"step": np.zeros(5)}, "step"),
        ({"moves": [(np.array([6]), None)], "genes": np.array([0])}, "latents"),
        ({"moves": [(np.array([0, 1]), None)], "genes": np.array([0])}, "one latent"),
        ({"moves": [(np.array([0]), np.zeros((14, 2, 5)))], "genes": np.array([0])}, "derivatives"),
        ({"courses": np.zeros((5, 13, 40))}, "courses"),
        ({"genes": np.full(8, 40)}, "genes"),
        ({"genes": np.zeros(7, dtype=np.int64)}, "genes"),
        ({"points": -1}, "points"),
    ],
)
def test_what_does_not_fit_is_refused(
    native: bool, change: dict[str, Any], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        monkeypatch.setitem(native_cache, "module", None)
    with pytest.raises(UsageError, match=named):
        course_moves(**(case(5, 14, 8) | change))
