"""Selection: which entries go, ties, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.errors import RunFailed, UsageError
from dash_hpc.ops.select import select


def by_sorting(score: np.ndarray, mask: np.ndarray, n: int) -> np.ndarray:
    """The rule in its plainest form: sort (score, flat index) of the active entries, drop the first n."""
    keys = sorted((score.flat[i], i) for i in range(score.size) if mask.flat[i])
    new = mask.copy()
    for _, i in keys[:n]:
        new.flat[i] = False
    return new


@pytest.mark.parametrize("seed", range(6))
def test_equals_a_plain_sort_with_many_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 4, size=(7, 11)).astype(float)
    mask = rng.random(score.shape) < 0.7
    active = int(mask.sum())
    for n in (0, 1, active // 3, active - 1, active):
        new, threshold = select(score, mask, n)
        np.testing.assert_array_equal(new, by_sorting(score, mask, n))
        assert (mask & ~new).sum() == n
        if n:
            assert threshold == score[mask & ~new].max()
            assert new.sum() == 0 or score[new].min() >= threshold


@pytest.mark.parametrize("kind", ["random", "few values", "constant", "sample misleads", "few active"])
def test_large_selections_equal_a_stable_sort(kind: str) -> None:
    """So large that the native operator looks at a sample first, of every 20th entry."""
    rng = np.random.default_rng(3)
    score = rng.random((256, 320))
    mask = rng.random(score.shape) < (0.0005 if kind == "few active" else 0.6)
    if kind == "few values":
        score = rng.integers(0, 3, score.shape).astype(float)
    elif kind == "constant":
        score[:] = 1.5
    elif kind == "sample misleads":
        score.reshape(-1)[::20] += 5.0
    active = np.flatnonzero(mask)
    order = active[np.argsort(score.reshape(-1)[active], kind="stable")]
    for n in (1, len(active) // 10, len(active) // 2, len(active) - 1, len(active)):
        new, threshold = select(score, mask, n)
        wanted = mask.copy()
        wanted.reshape(-1)[order[:n]] = False
        np.testing.assert_array_equal(new, wanted)
        assert threshold == score.reshape(-1)[order[n - 1]]


def test_constant_scores_remove_the_lowest_flat_indices() -> None:
    mask = np.ones((3, 4), dtype=bool)
    mask[0, 1] = False
    new, threshold = select(np.full((3, 4), 2.5), mask, 4)
    assert threshold == 2.5
    assert np.flatnonzero(mask & ~new).tolist() == [0, 2, 3, 4]


def test_inputs_are_left_alone_and_inactive_scores_are_not_read() -> None:
    score = np.array([[np.nan, 1.0], [-1.0, 3.0]])
    mask = np.array([[False, True], [True, True]])
    before = mask.copy()
    new, _ = select(score, mask, 1)
    np.testing.assert_array_equal(mask, before)
    assert new.tolist() == [[False, True], [False, True]]


def test_minus_zero_ties_with_zero() -> None:
    new, _ = select(np.array([[0.0, -0.0, 1.0]]), np.ones((1, 3), dtype=bool), 1)
    assert new.tolist() == [[False, True, True]]


def test_nothing_to_remove() -> None:
    mask = np.ones((2, 2), dtype=bool)
    new, threshold = select(np.zeros((2, 2)), mask, 0)
    assert new.all()
    assert np.isnan(threshold)


@pytest.mark.parametrize("n", [-1, 5])
def test_refuses_an_impossible_count(n: int) -> None:
    with pytest.raises(UsageError, match="cannot remove"):
        select(np.zeros((2, 2)), np.ones((2, 2), dtype=bool), n)


def test_refuses_shapes_that_differ() -> None:
    with pytest.raises(UsageError, match="mask is"):
        select(np.zeros((2, 2)), np.ones((2, 3), dtype=bool), 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_not_finite_fails_the_event(bad: float) -> None:
    score = np.array([[1.0, bad]])
    with pytest.raises(RunFailed, match="not finite"):
        select(score, np.ones((1, 2), dtype=bool), 1)
