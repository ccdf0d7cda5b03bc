"""SparseFlow: locally and in one run it is magnitude pruning; retrained in full it is rounds of whole trainings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dash_hpc.data import DataSet
from dash_hpc.ops.phoenix import PRUNABLE
from dash_hpc.training import Trainer
from tests.pruning.test_strategies import Start, masks_of
from tests.pruning.test_strategies import same as same_masks
from tests.small_runs import relaxing, run_spec, same_model

PARTS: dict[str, Any] = {
    "model": {"hidden": 4, "init_U": "orthogonal"},
    "solver": {"method": "rk4", "rtol": 1e-5, "atol": 1e-7, "step": 0.5},
    "training": {"epochs": 4, "prior_points": 50, "early_stop": 0, "plateau_patience": 0},
    "schedule": {"every": 2, "fraction": 0.1},
}


@pytest.fixture(scope="module")
def data() -> DataSet:
    return relaxing(10, [0.0, 1.0, 1.5, 3.0], 6, noise=0.01)


def fit(data: DataSet, **strategy: Any) -> tuple[Trainer, Any]:
    trainer = Trainer(data, run_spec(PARTS, strategy, 0, {}))
    return trainer, trainer.fit()


def test_locally_it_is_iterative_magnitude_pruning(start: Start, data: DataSet) -> None:
    ours, theirs = start({"name": "sparseflow"}), start({"name": "imp"})
    assert same_masks(masks_of(*ours, jitter=5), masks_of(*theirs, jitter=5))
    found = [fit(data, **options)[1] for options in (
        {"name": "sparseflow"}, {"name": "imp"}, {"name": "dash", "lambda_ppi": 0.0, "lambda_motif": 0.0}
    )]  # fmt: skip
    for other in found[1:]:
        same_model(found[0], other)
        assert found[0].history["train_mse"] == other.history["train_mse"]


def test_globally_one_threshold_cuts_all_layers(start: Start) -> None:
    strategy, state = start({"name": "sparseflow", "scope": "global"})
    state.weights["U_sums"] *= 3
    scores, _ = strategy.scores(state.weights, state.masks)
    masks = strategy.select(scores, state.masks, 0.6)
    size = np.concatenate([np.abs(state.weights[name]).ravel() for name in PRUNABLE]).astype(np.float64)
    kept = np.concatenate([masks[name][0].ravel() for name in PRUNABLE])
    assert kept.sum() == pytest.approx(0.4 * size.size, abs=2)
    assert size[~kept].max() < size[kept].min()
    assert len({cut for _, cut in masks.values()}) == 1
    assert masks["U_sums"][0].mean() > masks["U_prods"][0].mean() + 0.2


@pytest.mark.parametrize("scope", ["local", "global"])
def test_full_retraining_is_a_whole_training_after_each_cut(data: DataSet, scope: str) -> None:
    options = {"name": "sparseflow", "scope": scope, "retrain": "full", "rounds": 3, "keep": 0.216}
    trainer, found = fit(data, **options)
    _, dense = fit(data, name="none")
    assert found.history["phase"] == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert found.history["train_mse"][:4] == dense.history["train_mse"]
    assert found.history["lr"][0:16:4] == [5e-3] * 4  # each begins at the first learning rate
    assert sorted({event["epoch"] for event in found.events}) == [5, 9, 13]
    total = 4 * 4 * 10
    left = total
    for epoch in (5, 9, 13):
        gone = sum(event["n_pruned"] for event in found.events if event["epoch"] == epoch)
        assert gone == pytest.approx(0.4 * left, abs=2)  # 0.216 = 0.6³
        left -= gone
    assert found.kept is not None
    assert sum(int(mask.sum()) for mask in found.kept.masks.values()) == left
    assert found.kept.epoch > 12
    assert all((trainer.state.weights[name][~mask] == 0).all() for name, mask in trainer.state.masks.items())
