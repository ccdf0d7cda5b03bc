"""Metrics of a model with compressed matrices equal those of the same model as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array, issparse

from dash_hpc.evaluation import effects, network_metrics, row_normalised, structural_edges
from dash_hpc.evaluation.network import UNIVERSES, confusion, degrees, roc_auc
from dash_hpc.ops import PRUNABLE
from dash_hpc.ops.phoenix import tensor_shapes
from dash_hpc.rng import stream

G, M = 19, 31


@pytest.fixture(params=[0.02, 0.1, 0.4])
def models(request: pytest.FixtureRequest) -> tuple[Any, Any, Any, Any]:
    """(compressed weights and masks, dense weights and masks); some active weights are 0, some multipliers negative."""
    rng = stream(5, "compressed-metrics", str(request.param))
    dense: dict[str, np.ndarray] = {}
    compressed: dict[str, Any] = {}
    dense_masks, masks = {}, {}
    for name, shape in tensor_shapes(G, M).items():
        value = rng.normal(0, 1, shape)
        if name in PRUNABLE:
            stored = rng.random(shape) < request.param
            coordinates = np.nonzero(stored)
            chosen = rng.random(len(coordinates[0])) < 0.8
            entries = np.where(rng.random(len(chosen)) < 0.1, 0.0, value[coordinates])
            compressed[name] = csr_array((entries, coordinates), shape=shape)
            masks[name] = chosen
            dense[name] = np.zeros(shape)
            dense[name][coordinates] = entries
            dense_masks[name] = np.zeros(shape, dtype=bool)
            dense_masks[name][coordinates] = chosen
        else:
            dense[name] = compressed[name] = value
    return compressed, masks, dense, dense_masks


def networks() -> tuple[csr_array, csr_array]:
    rng = stream(6, "networks")
    truth = csr_array(np.where(rng.random((G, G)) < 0.2, rng.choice([-1.0, 1.0], (G, G)), 0))
    prior = csr_array(np.where(rng.random((G, G)) < 0.2, 1.0, 0))
    return truth, prior


def test_edges_and_effects(models: tuple[Any, Any, Any, Any]) -> None:
    compressed, masks, dense, dense_masks = models
    edges = structural_edges(compressed, masks, compressed=True)
    assert issparse(edges)
    wanted = structural_edges(dense, dense_masks)
    np.testing.assert_array_equal(edges.toarray(), wanted)
    np.testing.assert_array_equal(structural_edges(compressed, masks), wanted)
    assert degrees(edges) == degrees(wanted)
    for normalise in (False, True):
        found = effects(compressed, masks, normalise=normalise, compressed=True)
        assert issparse(found)
        np.testing.assert_allclose(found.toarray(), effects(dense, dense_masks, normalise=normalise), atol=1e-14)
    truth, _ = networks()
    found, dense_effects = effects(compressed, masks, compressed=True), effects(dense, dense_masks)
    np.testing.assert_allclose(row_normalised(found).toarray(), row_normalised(dense_effects), atol=1e-14)
    for universe in UNIVERSES:
        assert confusion(edges, truth, universe) == confusion(wanted, truth, universe)
        assert roc_auc(found, truth, universe) == pytest.approx(roc_auc(dense_effects, truth, universe), rel=1e-12)


def test_all_metrics(models: tuple[Any, Any, Any, Any]) -> None:
    compressed, masks, dense, dense_masks = models
    truth, prior = networks()
    for given in ({}, {"truth": truth}, {"truth": truth, "prior": prior}):
        found = network_metrics(compressed, masks, **given)
        wanted = network_metrics(dense, dense_masks, **given)
        assert found.keys() == wanted.keys()
        assert len(found) > 5
        for name, value in wanted.items():
            assert found[name] == pytest.approx(value, rel=1e-12), name
