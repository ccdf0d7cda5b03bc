"""Controls that rank pairs: against least squares spelled out, by hand, and the figures measured on DREAM4."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.data import Prior, TimeCourse
from dash_hpc.errors import UsageError
from dash_hpc.evaluation import (
    cut_rates,
    level_correlation,
    out_degree,
    prior_controls,
    ranking_controls,
    residual_correlation,
)


def _course(n_genes=5, trajectories=6, points=4, missing=False):
    rng = np.random.default_rng(11)
    values = [rng.random((points, n_genes)) for _ in range(trajectories)]
    for one in values:
        one[:, 2] = 0.4  # a gene that does not change
    if missing:
        values[0][1, 0] = np.nan
    return TimeCourse.from_arrays(values, [np.arange(points, dtype=float)] * trajectories)


def test_correlation_of_levels_is_that_of_numpy():
    course = _course()
    states = np.vstack([t.values for t in course.trajectories])
    moving = [0, 1, 3, 4]
    wanted = np.abs(np.corrcoef(states[:, moving].T))
    np.fill_diagonal(wanted, 0)
    found = level_correlation(course)
    np.testing.assert_allclose(found[np.ix_(moving, moving)], wanted, atol=1e-12)
    assert not found[2].any()
    assert not found[:, 2].any()


@pytest.mark.parametrize("missing", [False, True])
def test_residual_correlation_takes_the_own_level_out_by_least_squares(missing):
    course = _course(missing=missing)
    pairs = course.pairs()
    found = residual_correlation(course)
    for target in (0, 1, 3, 4):
        change = pairs.y1[:, target] - pairs.y0[:, target]
        there = np.isfinite(change)
        design = np.c_[np.ones(there.sum()), pairs.y0[there, target]]
        rest = np.zeros(len(change))
        rest[there] = change[there] - design @ np.linalg.lstsq(design, change[there], rcond=None)[0]
        for regulator in (0, 1, 3, 4):
            start = pairs.y0[:, regulator] - pairs.y0[:, regulator].mean()
            wanted = abs(rest @ start) / np.linalg.norm(rest) / np.linalg.norm(start)
            assert found[target, regulator] == pytest.approx(0.0 if target == regulator else wanted, abs=1e-12)
    assert not found[:, 2].any()


def _dream4(data_root, network):
    text = (data_root / "dream4" / f"insilico_size100_{network}_timeseries.tsv").read_text()
    header, *blocks = text.strip().split("\n\n")
    names = header.replace('"', "").split()[1:]
    tables = [np.loadtxt(block.splitlines()) for block in blocks]
    course = TimeCourse.from_arrays([t[:, 1:] for t in tables], [t[:, 0] for t in tables], genes=names)
    truth = np.zeros((100, 100))
    for line in (data_root / "dream4" / f"DREAM4_GoldStandard_InSilico_Size100_{network}.tsv").read_text().splitlines():
        source, target, edge = line.split("\t")
        truth[names.index(source), names.index(target)] = float(edge)
    return course, truth


@pytest.mark.parametrize(("network", "levels", "residual"), [(1, 0.066, 0.200), (2, 0.049, 0.100)])
def test_average_precision_on_dream4_is_the_measured_one(data_root, network, levels, residual):
    course, truth = _dream4(data_root, network)
    apart = ~np.eye(100, dtype=bool)
    wanted = {level_correlation: levels, residual_correlation: residual}
    for score, expected in wanted.items():
        order = np.argsort(-score(course)[apart], kind="stable")
        hits = (truth.T[apart] != 0)[order]
        precision = np.cumsum(hits) / np.arange(1, hits.size + 1)
        assert precision[hits].mean() == pytest.approx(expected, abs=0.003)


def test_rates_of_a_cut_ranking_by_brute_force():
    rng = np.random.default_rng(4)
    scores = rng.integers(0, 4, (6, 6)).astype(float)  # target × regulator, many ties
    truth = (rng.random((6, 6)) < 0.3).astype(float)  # regulator × target
    for n_edges in (0, 1, 7, 20, 36):
        values = []
        for _ in range(4000 if n_edges in (7, 20) else 1):
            order = np.lexsort((rng.random(36), -scores.ravel()))[:n_edges]
            taken = np.zeros(36, dtype=bool)
            taken[order] = True
            real = truth.T.ravel() != 0
            values.append(((taken & real).sum() / real.sum(), (~taken & ~real).sum() / (~real).sum()))
        tpr, tnr = np.mean(values, axis=0)
        found = cut_rates(scores, truth, n_edges)
        loose = 0.01 if len(values) > 1 else 1e-12 if n_edges in (0, 36) else 0.5
        assert found["tpr"] == pytest.approx(tpr, abs=loose)
        assert found["tnr"] == pytest.approx(tnr, abs=loose)
        assert found["balanced_accuracy"] == pytest.approx((found["tpr"] + found["tnr"]) / 2)
        if n_edges:
            assert found["precision"] == pytest.approx(found["tpr"] * real.sum() / n_edges)
    with pytest.raises(UsageError, match="cannot be cut at 37 edges"):
        cut_rates(scores, truth, 37)
    with pytest.raises(UsageError, match="with edges and with pairs that are none"):
        cut_rates(scores, np.zeros((6, 6)), 3)


def test_the_oracle_of_out_degrees_by_hand():
    truth = np.array([[0, 1.0, 1], [0, 0, 0], [0, 1.0, 0]])  # regulator 0 has two targets, 2 has one
    np.testing.assert_array_equal(out_degree(truth), [[2, 0, 1]] * 3)
    # Three edges: all of regulator 0, of which two are real; AUC: pairs (edge, none) in order 2 > 1 > 0.
    found = ranking_controls(_course(3), truth, 3)["out_degree"]
    assert found["tpr"] == pytest.approx(2 / 3)
    assert found["tnr"] == pytest.approx(5 / 6)
    # Among the pairs whose regulator has an edge: 2 of 3 edges, and 2 of the 3 other pairs are not taken.
    assert found["balanced_accuracy_reference_tfs"] == pytest.approx(2 / 3)
    # Edges score 2, 2, 1; others 2, 1, 1, 0, 0, 0: 5.5 + 5.5 + 4 of 18 comparisons won.
    assert found["auc"] == pytest.approx(15 / 18)


def test_what_is_left_of_a_prior_without_its_edges():
    rng = np.random.default_rng(2)
    dense = np.zeros((40, 40))
    dense[:8] = rng.random((8, 40)) < 0.2
    np.fill_diagonal(dense, 0)
    prior = Prior.from_arrays(dense)
    found = prior_controls(prior, prior.motif)
    assert found["empty_prior"]["balanced_accuracy"] == 0.5
    assert (found["empty_prior"]["tpr"], found["empty_prior"]["tnr"]) == (0.0, 1.0)
    n, e = 1600, int(dense.sum())
    both = int(((dense != 0) & (dense.T != 0)).sum())
    assert found["reversed_prior"]["balanced_accuracy"] == pytest.approx((both / e + 1 - (e - both) / (n - e)) / 2)
    # Of a rewired prior an edge falls on a true one about as often as the degrees say: d_out × d_in / E each.
    chance = np.outer(dense.sum(1), dense.sum(0)) / e
    expected = float((np.minimum(chance, 1) * dense).sum()) / e
    assert found["shuffled_prior"]["tpr"] == pytest.approx(expected, abs=0.08)
    np.testing.assert_equal(prior_controls(prior, prior.motif), found)
