"""Ranks over seeds: by hand and by going through every resampling in another way; epochs to plateau by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dash_hpc.evaluation import plateau_epoch, ranks


def test_a_clear_order_is_certain():
    found = ranks([[0.9, 0.91, 0.92], [0.5, 0.4, 0.45], [0.7, 0.71, 0.72]])
    assert found.rank.tolist() == found.low.tolist() == found.high.tolist() == [1, 3, 2]
    assert found.first.tolist() == [1, 0, 0]
    assert ranks([[1e-3, 2e-3], [5e-3, 6e-3]], larger_is_better=False).rank.tolist() == [1, 2]


def test_an_uncertain_order_is_that_of_all_resamplings():
    values = np.array([[0.6, 0.8, 0.7], [0.75, 0.65, 0.74], [0.1, 0.2, 0.9]])
    places: list[list[int]] = [[], [], []]
    leads = np.zeros(3)
    for draw in itertools.product(range(3), repeat=3):
        means = [sum(row[k] for k in draw) / 3 for row in values.tolist()]
        for k, mean in enumerate(means):
            places[k].append(1 + sum(other > mean + 1e-12 for other in means))
        leads += np.isclose(means, max(means)) / np.isclose(means, max(means)).sum()
    found = ranks(values)
    np.testing.assert_allclose(found.first, leads / 27)
    assert found.rank.tolist() == [2, 1, 3]  # 0.7, 0.713, 0.4
    for k in range(3):
        ordered = sorted(places[k])
        assert found.low[k] == pytest.approx(ordered[1], abs=0.5)  # 5 % of 27: the second
        assert found.high[k] == pytest.approx(ordered[25], abs=0.5)


def test_equal_means_share_their_ranks_and_what_is_missing_has_none():
    found = ranks([[0.5, 0.5], [0.5, 0.5], [np.nan, np.nan], [0.4, np.nan]])
    assert found.rank[:2].tolist() == [1.5, 1.5]
    assert np.isnan(found.rank[2])
    assert found.rank[3] == 3
    assert found.first[[0, 1, 3]].tolist() == [0.5, 0.5, 0.0]
    assert np.isnan(ranks([[np.nan]]).rank).all()


def test_many_seeds_are_resampled_at_random_and_repeatably():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, 12)) + np.array([[0.0], [0.1], [3.0], [-3.0]])
    found, again = ranks(values), ranks(values)
    assert found.first.tolist() == again.first.tolist()
    assert found.first.sum() == pytest.approx(1)
    assert (found.rank[2], found.low[2], found.high[2], found.rank[3]) == (1, 1, 1, 4)
    assert (found.low[0], found.high[0]) == (2, 3)


def test_the_epoch_of_the_plateau_by_hand():
    assert plateau_epoch([1, 2, 3, 4, 5], [10, 5, 2.01, 2.5, 2.0]) == 3  # from 2.01 to 2.0: half a percent
    assert plateau_epoch([1, 2, 3, 4, 5], [10, 5, 2.03, 2.5, 2.0]) == 5
    assert plateau_epoch([1, 2, 3], [np.nan, 4.0, np.inf]) == 2
    assert np.isnan(plateau_epoch([1], [np.nan]))
    assert plateau_epoch([4, 5], [3.0, 9.0]) == 4
