"""Scores ranked within tensors and across them, against a sort of everything."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.errors import RunFailed
from dash_hpc.pruning.ranking import rank


def case(seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Three tensors with many ties, one of them compressed, and masks with holes."""
    rng = np.random.default_rng(seed)
    shapes = {"b": (3, 5), "a": (4, 2), "c": (7,)}
    scores = {name: rng.integers(-3, 4, size=shape).astype(float) for name, shape in shapes.items()}
    return scores, {name: rng.random(shape) < 0.8 for name, shape in shapes.items()}


@pytest.mark.parametrize("seed", range(5))
def test_globally_the_lowest_of_all_go_and_ties_in_order(seed: int) -> None:
    scores, masks = case(seed)
    counts = {"b": 3, "a": 2, "c": 1}
    everything = sorted(
        (scores[name].flat[k], place, k)
        for place, name in enumerate(scores)
        for k in range(scores[name].size)
        if masks[name].flat[k]
    )
    wanted = {name: mask.copy() for name, mask in masks.items()}
    for _, place, k in everything[:6]:
        wanted[list(scores)[place]].flat[k] = False
    for name, (mask, threshold) in rank(scores, masks, counts, "global").items():
        np.testing.assert_array_equal(mask, wanted[name])
        assert threshold == everything[5][0]


def test_locally_each_tensor_loses_its_count() -> None:
    scores, masks = case(0)
    for name, (mask, threshold) in rank(scores, masks, {"b": 3, "a": 2, "c": 1}, "local").items():
        gone = masks[name] & ~mask
        assert gone.sum() == {"b": 3, "a": 2, "c": 1}[name]
        assert scores[name][gone].max() == threshold <= scores[name][mask].min()


def test_nothing_and_everything() -> None:
    scores, masks = case(1)
    none = rank(scores, masks, dict.fromkeys(scores, 0), "global")
    assert all(np.array_equal(mask, masks[name]) and np.isnan(cut) for name, (mask, cut) in none.items())
    counts = {name: int(mask.sum()) for name, mask in masks.items()}
    assert not any(mask.any() for mask, _ in rank(scores, masks, counts, "global").values())
    scores["a"][masks["a"]] = np.nan
    with pytest.raises(RunFailed, match="not finite"):
        rank(scores, masks, counts, "global")
