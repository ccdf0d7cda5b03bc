"""Every network measure against a slow, literal restatement on small random models."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import scipy.sparse as sp

from dash_hpc.errors import UsageError
from dash_hpc.evaluation import (
    confusion,
    degrees,
    edge_recovery,
    effect_mse,
    effects,
    matrices,
    model_sparsity,
    network_metrics,
    roc_auc,
    row_normalised,
    score_auc,
    structural_edges,
    structural_mismatches,
)


def random_model(seed, genes=9, hidden=3, active=0.35):
    rng = np.random.default_rng(seed)
    shapes = {"W_sums": (hidden, genes), "W_prods": (hidden, genes)}
    shapes |= {"U_sums": (genes, hidden), "U_prods": (genes, hidden)}
    masks = {name: rng.random(shape) < active for name, shape in shapes.items()}
    weights = {name: np.where(masks[name], rng.normal(size=shapes[name]), 0.0) for name in shapes}
    weights |= {"b_sums": rng.normal(size=hidden), "b_prods": rng.normal(size=hidden)}
    weights["v"] = rng.normal(size=genes)
    truth = sp.csr_array(np.where(rng.random((genes, genes)) < 0.2, rng.choice([-1.0, 1.0], (genes, genes)), 0))
    prior = sp.csr_array(np.where(rng.random((genes, genes)) < 0.2, 1.0, 0.0))
    return weights, masks, truth, prior


def slow_edges(weights):
    hidden, genes = weights["W_sums"].shape
    edges = np.zeros((genes, genes), dtype=bool)
    for j, i, h, b in itertools.product(range(genes), range(genes), range(hidden), ("sums", "prods")):
        if weights["v"][j] > 0 and weights[f"U_{b}"][j, h] != 0 and weights[f"W_{b}"][h, i] != 0:
            edges[j, i] = True
    return edges


def slow_auc(scores, labels):
    positive, negative = scores[labels], scores[~labels]
    wins = (positive[:, None] > negative).sum() + 0.5 * (positive[:, None] == negative).sum()
    return wins / (positive.size * negative.size)


@pytest.mark.parametrize("seed", range(4))
def test_edges_sparsity_and_effects_agree_with_loops(seed):
    weights, masks, _, _ = random_model(seed)
    edges = structural_edges(weights, masks)
    assert np.array_equal(edges, slow_edges(weights))
    r = np.maximum(weights["v"], 0)
    D = np.diag(r) @ (weights["U_sums"] @ weights["W_sums"] + weights["U_prods"] @ weights["W_prods"])
    assert np.allclose(effects(weights, masks), D, rtol=0, atol=1e-14)
    assert structural_mismatches(edges, D) == 0
    parts = [weights["W_sums"], weights["W_prods"], r[:, None] * weights["U_sums"], r[:, None] * weights["U_prods"]]
    zeros = sum(int((part == 0).sum()) for part in parts)
    assert model_sparsity(weights, masks) == zeros / sum(part.size for part in parts)


def test_row_blocks_do_not_change_anything(monkeypatch):
    weights, masks, truth, _ = random_model(1)
    whole = structural_edges(weights, masks), effects(weights, masks, normalise=True)
    error = effect_mse(whole[1], truth)
    monkeypatch.setattr(matrices, "BLOCK_ENTRIES", 20)
    assert np.array_equal(structural_edges(weights, masks), whole[0])
    assert np.allclose(effects(weights, masks, normalise=True), whole[1], rtol=0, atol=1e-15)
    assert effect_mse(whole[1], truth) == pytest.approx(error, abs=1e-15)


def test_masks_win_over_weights_and_must_fit():
    weights, masks, _, _ = random_model(2)
    loud = {**weights, "W_sums": weights["W_sums"] + 5.0}
    masked = {**loud, "W_sums": np.where(masks["W_sums"], loud["W_sums"], 0.0)}
    assert np.array_equal(structural_edges(loud, masks), structural_edges(masked))
    assert model_sparsity(loud, masks) == model_sparsity(masked)
    assert np.array_equal(effects(loud, masks), effects(masked))
    with pytest.raises(UsageError, match="mask U_sums has shape"):
        model_sparsity(weights, {**masks, "U_sums": np.ones((2, 2), bool)})


def test_pattern_keeps_edges_whose_products_underflow_or_cancel():
    weights = {name: np.zeros((1, 2)) for name in ("W_sums", "W_prods")}
    weights |= {name: np.zeros((2, 1)) for name in ("U_sums", "U_prods")}
    weights["v"] = np.ones(2)
    weights["W_sums"][0], weights["U_sums"][0, 0] = (1e-200, 1.0), 1e-200  # 0 -> 0 underflows
    weights["W_prods"][0, 1], weights["U_prods"][0, 0] = 1.0, -1e-200  # 1 -> 0 cancels
    edges = structural_edges(weights)
    assert edges.tolist() == [[True, True], [False, False]]
    assert structural_mismatches(edges, effects(weights)) == 2
    assert network_metrics(weights, None)["structural_mismatches"] == 2


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("universe", ["all", "reference_tfs", "off_diagonal"])
def test_confusion_and_auc_agree_with_pair_by_pair_counting(seed, universe):
    weights, masks, truth, _ = random_model(seed)
    edges, scores = structural_edges(weights, masks), effects(weights, masks, normalise=True)
    true = truth.toarray().T != 0  # target × regulator
    genes = edges.shape[0]
    counted = [
        (j, i)
        for j, i in itertools.product(range(genes), range(genes))
        if universe == "all"
        or (universe == "reference_tfs" and true[:, i].any())
        or (universe == "off_diagonal" and i != j)
    ]
    said, was = np.array([edges[p] for p in counted]), np.array([true[p] for p in counted])
    counts = confusion(edges, truth, universe)
    expected = ((said & was).sum(), (said & ~was).sum(), (~said & was).sum(), (~said & ~was).sum())
    assert (counts.tp, counts.fp, counts.fn, counts.tn) == expected
    tpr, tnr = expected[0] / was.sum(), expected[3] / (~was).sum()
    assert counts.tpr == pytest.approx(tpr)
    assert counts.tnr == pytest.approx(tnr)
    assert counts.balanced_accuracy == pytest.approx((tpr + tnr) / 2)
    assert counts.precision == pytest.approx(expected[0] / (expected[0] + expected[1]))
    strength = np.abs(np.array([scores[p] for p in counted]))
    assert roc_auc(scores, truth, universe) == pytest.approx(slow_auc(strength, was), abs=1e-12)


@pytest.mark.parametrize("universe", ["all", "reference_tfs", "off_diagonal"])
def test_auc_restricted_to_prior_sources(universe):
    weights, masks, truth, prior = random_model(7)
    scores, true = np.abs(effects(weights, masks, normalise=True)), truth.toarray().T != 0
    sources = np.flatnonzero(prior.toarray().any(axis=1))[:5]
    counted = np.zeros_like(true)
    counted[:, sources] = True
    if universe == "reference_tfs":
        counted &= true.any(axis=0)
    if universe == "off_diagonal":
        np.fill_diagonal(counted, False)
    found = roc_auc(scores, truth, universe, regulators_only=sources)
    assert found == pytest.approx(slow_auc(scores[counted], true[counted]), abs=1e-12)


def test_auc_with_ties_by_hand():
    # Ranks of 0, 0, 1, 2, 2, 3 are 1.5, 1.5, 3, 4.5, 4.5, 6. True: one of the zeros, one of the twos, the three.
    # Sum 1.5 + 4.5 + 6 = 12; U = 12 - 3·4/2 = 6; 6 / (3·3) = 2/3.
    scores = np.array([0.0, 0.0, 1.0, 2.0, 2.0, 3.0])
    assert score_auc(scores, np.array([0, 3, 5])) == pytest.approx(2 / 3)
    assert score_auc(np.ones(4), np.array([1])) == 0.5
    assert score_auc(scores, np.array([3, 4, 5])) == 1.0
    assert score_auc(scores, np.array([0, 1])) == 0.0
    assert np.isnan(score_auc(scores, np.array([], dtype=int)))


def test_recovery_and_rejection_by_hand():
    # regulator × target: truth 0->1, 0->2, 1->2; prior 0->1 (right), 2->0 and 2->2 (wrong).
    truth = np.array([[0, 1, -1], [0, 0, 1], [0, 0, 0]])
    prior = np.array([[0, 1, 0], [0, 0, 0], [1, 0, 1]])
    edges = np.zeros((3, 3), dtype=bool)
    edges[2, 0] = True  # found 0->2 of the two missing edges
    edges[0, 2] = True  # kept 2->0 of the two spurious ones
    assert edge_recovery(edges, truth, prior) == {"recovered_missing": 0.5, "rejected_spurious": 0.5}
    assert edge_recovery(edges, truth, truth) == {}


def test_degrees_by_hand():
    edges = np.array([[True, True, False], [True, False, False], [False, False, False]])
    assert degrees(edges) == {
        "n_edges": 3.0,
        "out_degree": 1.0,
        "in_degree": 1.0,
        "active_regulators": 2.0,
        "active_targets": 2.0,
    }


def test_effect_mse_is_literal():
    weights, masks, truth, _ = random_model(3)
    D = effects(weights, masks, normalise=True)
    want = row_normalised(np.sign(truth.toarray()).T)
    assert effect_mse(D, truth) == pytest.approx(np.mean((D - want) ** 2), abs=1e-15)
    assert effect_mse(want, truth) == pytest.approx(0.0, abs=1e-15)


def test_metrics_without_truth_leave_out_what_is_unknown():
    weights, masks, truth, prior = random_model(5)
    bare, full = network_metrics(weights, masks), network_metrics(weights, masks, prior=prior, truth=truth)
    names = {"sparsity", "n_edges", "out_degree", "in_degree", "active_regulators", "active_targets"}
    assert set(bare) == names | {"structural_mismatches"}
    assert {"balanced_accuracy", "tpr", "tnr", "auc", "auc_prior_sources", "recovered_missing"} < set(full)
    assert all(np.isfinite(value) for value in full.values())


def test_sparsity_of_models_with_different_m_stands_on_one_base():
    """A structured model of m = 6 with 31 active weights beside the study's m = 3, 8 genes: 4·3·8 = 96 weights."""
    rng = np.random.default_rng(8)
    weights = {name: np.zeros((6, 8)) for name in ("W_sums", "W_prods")}
    weights |= {name: np.zeros((8, 6)) for name in ("U_sums", "U_prods")}
    weights["v"] = np.array([1.0, 1, 1, 1, 1, 1, 1, -1])
    for name, count in (("W_sums", 9), ("W_prods", 7)):
        weights[name].flat[rng.choice(48, count, replace=False)] = 0.5
    for name, count in (("U_sums", 8), ("U_prods", 7)):
        weights[name][:7].flat[rng.choice(42, count, replace=False)] = -0.5
    weights["U_sums"][7] = 1.0  # of a gene that is dead: no weight of it acts
    for form in (weights, {k: sp.csr_array(w) if w.ndim == 2 else w for k, w in weights.items()}):
        result = network_metrics(form, None, model={"hidden": 3})
        assert result["active_weights"] == 31
        assert result["sparsity"] == pytest.approx(1 - 31 / 192)
        assert result["study_sparsity"] == pytest.approx(1 - 31 / 96)
    assert network_metrics(weights, None, model={"hidden": 6})["study_sparsity"] == result["sparsity"]
    # A model with more weights than the base is below 0.
    weights["W_sums"][:] = 1.0
    assert network_metrics(weights, None, model={"hidden": 1})["study_sparsity"] == pytest.approx(
        1 - (31 - 9 + 48) / 32
    )


def test_unknown_universe_is_refused():
    with pytest.raises(UsageError, match="off_diagonal"):
        confusion(np.zeros((2, 2), bool), np.eye(2), "tfs")


def test_no_warning_for_a_model_that_is_cut_whole():
    weights, _, truth, prior = random_model(6)
    dead = {**weights, "v": -np.ones_like(weights["v"])}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = network_metrics(dead, None, prior=prior, truth=truth)
    assert result["n_edges"] == 0
    assert result["balanced_accuracy"] == 0.5
    assert result["auc"] == 0.5
