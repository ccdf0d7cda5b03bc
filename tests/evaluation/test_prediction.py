"""One-step errors through the solver, and a failed solve that names its pair."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

from dash_hpc.data import Pairs, Prior, TimeCourse
from dash_hpc.errors import RunFailed
from dash_hpc.evaluation import evaluate, evaluation_notes, pairwise_mse, persistence_mse, predict_pairs

SOLVER = {"method": "dopri5", "rtol": 1e-8, "atol": 1e-10, "step": 0.125, "max_steps": 10000}


def decay(genes=3, hidden=2, rate=0.5):
    """A model whose U is zero: every gene decays as exp(-rate·t)."""
    weights = {name: np.zeros((hidden, genes)) for name in ("W_sums", "W_prods")}
    weights |= {name: np.zeros((genes, hidden)) for name in ("U_sums", "U_prods")}
    return weights | {"b_sums": np.zeros(hidden), "b_prods": np.zeros(hidden), "v": np.full(genes, rate)}


def course(seed, trajectories=2):
    rng = np.random.default_rng(seed)
    times = np.array([0.0, 1.0, 3.0])
    return TimeCourse.from_arrays([rng.random((3, 3)) for _ in range(trajectories)], [times] * trajectories)


def test_error_of_a_model_with_a_known_solution():
    pairs = course(0).pairs()
    predicted = pairs.y0 * np.exp(-0.5 * (pairs.t1 - pairs.t0))[:, None]
    assert np.allclose(predict_pairs(decay(), pairs, solver=SOLVER), predicted, rtol=0, atol=1e-7)
    assert pairwise_mse(decay(), pairs, solver=SOLVER) == pytest.approx(np.mean((predicted - pairs.y1) ** 2), rel=1e-6)
    assert persistence_mse(pairs) == pytest.approx(np.mean((pairs.y1 - pairs.y0) ** 2))


def test_a_failed_pair_is_named():
    ends = np.array([1e-6, 3.0])
    pairs = Pairs(np.ones((2, 3)), np.ones((2, 3)), np.array([0.0, 1.0]), ends, np.array([0, 4]))
    one_step = {**SOLVER, "max_steps": 1}
    with pytest.raises(RunFailed, match=r"test pair 1 \(trajectory 4, t = 1 to 3\) could not be solved: .*; 1 of 2"):
        predict_pairs(decay(), pairs, solver=one_step, what="test pair")


def dataset(**changes):
    motif = sp.csr_array(np.array([[0, 1.0, 0], [0, 0, 1.0], [0, 0, 0]]))
    truth = sp.csr_array(np.array([[0, 1.0, 1.0], [0, 0, 0], [0, 0, 0]]))
    parts = {
        "train": course(1),
        "validation": course(2),
        "test": course(3),
        "truth": truth,
        "notes": (),
        "time_unit": 1.0,
    }
    return SimpleNamespace(**(parts | {"prior": Prior.from_arrays(motif)} | changes))


def test_evaluate_gives_every_name_it_promises():
    weights = decay()
    weights["W_sums"][0, 0], weights["U_sums"][1, 0] = 1.0, 1.0  # one edge: 0 -> 1, right
    weights["W_prods"][1, 1], weights["U_prods"][2, 1] = 1.0, 1.0  # another: 1 -> 2, a wrong edge of the prior
    result = evaluate(weights, None, dataset(), solver=SOLVER)
    names = "sparsity n_edges balanced_accuracy tpr tnr auc auc_prior_sources out_degree in_degree active_regulators "
    names += "test_mse validation_mse train_mse persistence_mse recovered_missing rejected_spurious effect_mse "
    names += "control_prior_ba control_prior_tpr control_prior_tnr control_margins_ba control_margins_tpr "
    names += "control_margins_tnr control_sources_ba control_sources_tpr control_sources_tnr control_persistence_mse"
    assert set(names.split()) <= set(result)
    assert all(isinstance(value, float) and np.isfinite(value) for value in result.values())
    assert (result["tpr"], result["tnr"]) == (0.5, 6 / 7)
    assert (result["recovered_missing"], result["rejected_spurious"]) == (0.0, 0.0)
    assert result["control_prior_ba"] == pytest.approx(0.5 * (0.5 + 6 / 7))
    assert evaluation_notes(dataset()) == []


def test_what_cannot_be_measured_is_left_out_and_said():
    bare = dataset(truth=None, prior=None, test=None)
    result = evaluate(decay(), None, bare, solver=SOLVER)
    assert "balanced_accuracy" not in result
    assert "test_mse" not in result
    assert not [name for name in result if name.startswith("control_") and name.endswith("_ba")]
    assert {"sparsity", "validation_mse", "control_persistence_validation_mse"} <= set(result)
    notes = " ".join(evaluation_notes(bare))
    for word in ("No reference network", "No prior", "no test data"):
        assert word in notes


def test_a_clean_prior_has_nothing_to_recover():
    truth = sp.csr_array(np.array([[0, 1.0, 0], [0, 0, 1.0], [0, 0, 0]]))
    clean = dataset(truth=truth)
    result = evaluate(decay(), None, clean, solver=SOLVER)
    assert "recovered_missing" not in result
    assert "rejected_spurious" not in result
    assert len(evaluation_notes(clean)) == 2
