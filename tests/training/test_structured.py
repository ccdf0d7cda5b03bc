"""A model that is sparse from the start, from its structure to its run file; nothing of size m·G on the way."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array, issparse

from dash_hpc.data import DataSet, Prior, TimeCourse
from dash_hpc.errors import PriorError
from dash_hpc.evaluation import evaluate, structural_edges
from dash_hpc.ops.phoenix import PRUNABLE, TENSORS
from dash_hpc.ops.state import TrainState, masked_tensors, values
from dash_hpc.pruning import Structured, StructuredOptions
from dash_hpc.store.envelope import HEADER_BYTES, to_bytes
from dash_hpc.store.hdf5 import open_image
from dash_hpc.store.network import read_network, write_network
from dash_hpc.training import Trainer
from dash_hpc.training.checkpoint import capture
from dash_hpc.training.early_stop import BestKept
from tests.small_runs import MakeSpec


def test_the_structure_is_the_prior(dataset: DataSet, make_spec: MakeSpec) -> None:
    assert dataset.prior is not None
    trainer = Trainer(dataset, make_spec(strategy={"name": "structured"}))
    weights = trainer.state.weights
    motif = dataset.prior.motif
    n_edges = motif.nnz
    assert all(issparse(weights[name]) for name in PRUNABLE)
    assert weights["W_prods"].nnz == weights["U_sums"].nnz == n_edges
    assert weights["W_sums"].nnz == len(np.unique(motif.tocoo().coords[0]))
    assert weights["U_prods"].nnz == len(np.unique(motif.tocoo().coords[1]))
    np.testing.assert_array_equal(structural_edges(weights), motif.T.toarray() != 0)
    for branch in ("sums", "prods"):  # each branch alone has all edges
        other = "prods" if branch == "sums" else "sums"
        half = weights | {f"U_{other}": csr_array(weights[f"U_{other}"].shape, dtype=np.float32)}
        np.testing.assert_array_equal(structural_edges(half), motif.T.toarray() != 0)


@pytest.mark.parametrize("tau", [1.0, 0.5])
@pytest.mark.parametrize("prune", [False, True])
def test_it_learns_what_the_same_masked_arrays_learn(
    dataset: DataSet, make_spec: MakeSpec, prune: bool, tau: float
) -> None:
    spec = make_spec(
        strategy={"name": "structured", "prune": prune}, epochs=6, first_fraction=0.3, dtype="float64", tau=tau
    )
    trainer = Trainer(dataset, spec)
    same = Trainer(dataset, spec)
    compressed = same.state.weights
    dense = {name: value.toarray() if issparse(value) else value for name, value in compressed.items()}
    masks = {
        name: csr_array(
            (np.ones(compressed[name].nnz), compressed[name].indices, compressed[name].indptr), compressed[name].shape
        ).toarray() > 0
        for name in PRUNABLE
    }  # fmt: skip
    same.state = TrainState.fresh(dense, masks)
    fit, other = trainer.fit(), same.fit()
    assert fit.history["train_mse"] == pytest.approx(other.history["train_mse"], rel=1e-9)
    assert fit.history["validation_mse"] == pytest.approx(other.history["validation_mse"], rel=1e-9)
    assert fit.history["sparsity"] == other.history["sparsity"]
    assert fit.history["train_mse"][-1] < fit.history["train_mse"][0]
    assert bool(fit.events) is prune
    assert fit.kept is not None
    assert other.kept is not None
    for name in TENSORS:
        kept = fit.kept.weights[name]
        np.testing.assert_allclose(kept.toarray() if issparse(kept) else kept, other.kept.weights[name], atol=1e-9)
    solver = spec["solver"]
    found = evaluate(fit.kept.weights, fit.kept.masks, dataset, solver=solver)
    assert found == pytest.approx(evaluate(other.kept.weights, other.kept.masks, dataset, solver=solver), rel=1e-6)


def test_the_run_file_keeps_the_form(dataset: DataSet, make_spec: MakeSpec) -> None:
    fit = Trainer(dataset, make_spec(strategy={"name": "structured", "prune": True}, epochs=4)).fit()
    assert fit.kept is not None
    kept = fit.kept
    data = to_bytes("dash-hpc run", 1, lambda file: write_network(file, kept.weights, kept.masks, epoch=4))
    network = read_network(open_image(data[HEADER_BYTES:]))
    assert network is not None
    wanted = masked_tensors(fit.kept.weights, fit.kept.masks)
    for name in TENSORS:
        if name in PRUNABLE:
            assert issparse(network.weights[name])
            np.testing.assert_array_equal(network.weights[name].toarray(), wanted[name].toarray())
            assert network.masks[name].sum() == fit.kept.masks[name].sum() < fit.kept.weights[name].nnz
        else:
            np.testing.assert_array_equal(network.weights[name], wanted[name])


def test_gates_act_on_the_values_of_a_compressed_model(
    dataset: DataSet, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = torch.full((), 0.5, requires_grad=True)
    monkeypatch.setattr(Structured, "parameters", lambda self: [(gate, None)])
    monkeypatch.setattr(
        Structured, "effective", lambda self, params, step: params | {"U_sums": params["U_sums"] * gate}
    )
    trainer = Trainer(dataset, make_spec(strategy={"name": "structured"}))
    fit = trainer.fit()
    assert issparse(trainer.state.weights["U_sums"])
    assert fit.history["train_mse"][-1] < fit.history["train_mse"][0]
    assert gate.item() != 0.5


def test_what_a_structured_model_needs_is_said(dataset: DataSet) -> None:
    bare = DataSet("bare", dataset.train, dataset.validation)
    with pytest.raises(PriorError, match="structured needs prior knowledge"):
        Structured(StructuredOptions(), {}, bare, 0)
    nothing = DataSet(
        "empty", dataset.train, dataset.validation,
        prior=Prior.from_arrays(np.zeros((dataset.train.n_genes,) * 2), dataset.train.genes),
    )  # fmt: skip
    with pytest.raises(PriorError, match="no edge to build from"):
        Structured(StructuredOptions(), {}, nothing, 0)


def test_nothing_of_the_full_size_is_allocated(make_spec: MakeSpec) -> None:
    """2,000 genes, 8,000 edges: one matrix as an array would take 16 MB in float32, one boolean of G·G 4 MB."""
    G, edges = 2000, 8000
    rng = np.random.default_rng(3)
    motif = csr_array((np.ones(edges), (rng.integers(0, 200, edges), rng.integers(0, G, edges))), shape=(G, G))
    course = TimeCourse.from_arrays([rng.random((3, G)) for _ in range(2)], [np.array([0.0, 0.5, 1.0])] * 2)
    dataset = DataSet("large", course, course, prior=Prior.from_arrays(motif.sign(), course.genes))
    spec = make_spec(strategy={"name": "structured", "prune": True}, epochs=3)
    tracemalloc.start()
    trainer = Trainer(dataset, spec)
    fit = trainer.fit()
    assert fit.kept is not None
    metrics = evaluate(fit.kept.weights, fit.kept.masks, dataset, solver=spec["solver"])
    checkpoint = capture(trainer, fit, BestKept(0), trainer.fresh_plateau(after_event=False))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert values(trainer.state.weights["W_prods"]).size > 7000
    assert metrics["n_edges"] > 1000
    assert sum(array.nbytes for array in checkpoint.arrays.values()) < 2e6
    assert peak < 6e6
