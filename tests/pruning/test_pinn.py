"""PINN is the prior loss as a strategy; PINN + MP cuts its model once and fine-tunes, and p is chosen by one_se."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from dash_hpc.data import DataSet
from dash_hpc.evaluation import select_setting
from dash_hpc.ops.phoenix import PRUNABLE
from dash_hpc.training import Fit, Trainer
from tests.small_runs import relaxing, run_spec, same

PARTS: dict[str, Any] = {
    "model": {"hidden": 4, "init_U": "orthogonal"},
    "solver": {"method": "rk4", "rtol": 1e-5, "atol": 1e-7, "step": 0.5},
    "training": {"epochs": 5, "prior_points": 50, "early_stop": 0},
    "schedule": {"every": 2, "fraction": 0.1},
}


@pytest.fixture(scope="module")
def data() -> DataSet:
    return relaxing(10, [0.0, 1.0, 1.5, 3.0], 6, noise=0.01)


def fit(data: DataSet, strategy: dict[str, Any], **changes: Any) -> Fit:
    return Trainer(data, run_spec(PARTS, strategy, 0, changes)).fit()


def test_pinn_is_training_with_a_prior_loss(data: DataSet) -> None:
    found = fit(data, {"name": "pinn", "tau": 0.9})
    same(found, fit(data, {"name": "none"}, tau=0.9))
    assert not found.events
    assert found.history["train_mse"] != fit(data, {"name": "none"}).history["train_mse"]


@pytest.mark.parametrize("log_magnitudes", [False, True])
def test_pinn_mp_cuts_the_trained_model_once(data: DataSet, log_magnitudes: bool) -> None:
    trained = fit(data, {"name": "pinn", "tau": 0.9}).kept
    assert trained is not None
    spec = run_spec(PARTS, {"name": "pinn_mp", "tau": 0.9, "p": 0.3, "log_magnitudes": log_magnitudes}, 0, {})
    trainer = Trainer(data, spec)
    found = trainer.fit()
    weights, size = trained.weights, {}
    for name in PRUNABLE:
        size[name] = np.abs(weights[name])
        if name.startswith("U"):
            size[name] = size[name] * np.maximum(weights["v"], 0)[:, None]
    if log_magnitudes:
        size["W_prods"] = np.exp(weights["W_prods"])
    assert found.kept is not None
    for name in PRUNABLE:
        mask = np.ones(size[name].size, dtype=bool)
        mask[np.argsort(size[name], axis=None, kind="stable")[:12]] = False  # 0.3 of 4·10
        np.testing.assert_array_equal(found.kept.masks[name].ravel(), mask)
        assert (trainer.state.masks[name] == found.kept.masks[name]).all()
    assert found.history["phase"] == [0] * 5 + [1] * 5
    assert {event["epoch"] for event in found.events} == {6}
    assert found.kept.epoch > 5
    assert found.history["sparsity"][5:] == pytest.approx([0.3] * 5, abs=0.1)  # and dead multipliers


def test_p_is_the_sparsest_within_one_standard_error() -> None:
    """Three repeats: the lowest mean is that of p = 0.75; 0.9 and 0.92 lie within, 0.95 does not."""
    errors = {
        0.5: (3.0, 3.1, 3.2),
        0.75: (1.0, 1.3, 1.6),
        0.9: (1.2, 1.4, 1.5),
        0.92: (1.4, 1.4, 1.5),
        0.95: (1.9, 1.9, 2.0),
    }
    rows = [(p, seed, mse, p) for p, three in errors.items() for seed, mse in enumerate(three)]
    table = pd.DataFrame(rows, columns=["p", "seed", "validation_mse", "sparsity"])
    table["strategy"], table["status"] = "pinn_mp", "done"
    # Single cuts of a study whose schedule has one large event, which says nothing about the grid.
    table["schedule.every"], table["schedule.first_fraction"] = 0, 0.7
    table.index = [f"run{k}" for k in range(len(table))]
    chosen = select_setting(table, "one_se", strategy="pinn_mp")
    assert chosen.setting == {"p": 0.92}
    assert select_setting(table, "best", strategy="pinn_mp").setting == {"p": 0.75}
