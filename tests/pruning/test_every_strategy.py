"""What every strategy keeps to, on both families: resumed and in company it has the bits that it has alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dash_hpc.data import DataSet
from dash_hpc.execution import run_study
from dash_hpc.ops.state import values
from dash_hpc.store import compare_runs, open_store, run_path
from dash_hpc.training import Pack, Trainer
from tests.small_runs import relaxing, resumes_at_every_epoch, run_spec, same

STRATEGIES: dict[str, dict[str, Any]] = {
    "pinn": {"name": "pinn", "tau": 0.9},
    "pinn_mp": {"name": "pinn_mp", "tau": 0.9, "p": 0.5},
    "sparseflow": {"name": "sparseflow", "scope": "global"},
    "sparseflow, full": {"name": "sparseflow", "retrain": "full", "rounds": 2, "keep": 0.3},
    "random": {"name": "random"},
    "random, at init": {"name": "random", "when": "init", "scope": "global", "keep": 0.5},
    "magnitude_init": {"name": "magnitude_init", "keep": 0.5},
    "snip": {"name": "snip", "keep": 0.5},
    "grasp": {"name": "grasp", "keep": 0.5},
    "synflow": {"name": "synflow", "keep": 0.5, "iterations": 3},
    "synflow, by the schedule": {"name": "synflow", "when": "schedule", "scope": "local", "iterations": 2},
    "l0": {"name": "l0"},
    "cnode": {"name": "cnode", "prox_threshold": 1.0},
    "pathreg": {"name": "pathreg"},
    "dst": {"name": "dst"},
}
#: What removes nothing at an event, and what of it removes weights otherwise.
WITHOUT_EVENTS = {"pinn": False, "l0": False, "pathreg": False, "cnode": True, "dst": True}
MODELS: dict[str, dict[str, Any]] = {
    "phoenix": {"hidden": 4, "init_U": "orthogonal"},
    "mlp": {"family": "mlp", "hidden": 3},
}
STUDY = """[study]
name = "gates"
[data]
kind = "simulate"
genes = 8
regulators = 3
edges = 9
times = [0.0, 1.0, 2.0]
trajectories = 5
test_trajectories = 1
validation = 0.4
starts = "smoothed"
[model]
family = ["phoenix", "mlp"]
hidden = 3
[solver]
method = "rk4"
step = 0.5
[training]
epochs = 2
[[strategy]]
name = "l0"
[[strategy]]
name = "cnode"
prox_threshold = 0.1
[[strategy]]
name = "pathreg"
[[strategy]]
name = "dst"
"""
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
every_family = pytest.mark.parametrize("family", MODELS)


@pytest.fixture(scope="module")
def data() -> DataSet:
    """Eight genes; 4 + 2 trajectories of two steps."""
    return relaxing(8, [0.0, 1.0, 1.5], 4, noise=0.01)


def spec_of(family: str, strategy: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    parts = {
        "model": MODELS[family],
        "solver": {"method": "rk4", "rtol": 1e-3, "atol": 1e-5, "step": 0.5},
        "training": {
            "epochs": 2 if strategy.get("retrain") == "full" else 4,
            "prior_points": 20,
            "early_stop": 0,
            "batch": "single",
        },
        "schedule": {"every": 3, "fraction": 0.2},
    }
    return run_spec(parts, strategy, seed, {})


@every_family
@every_strategy
def test_resumed_and_in_a_pack_it_has_the_same_bits(
    data: DataSet, tmp_path: Path, family: str, strategy: dict[str, Any]
) -> None:
    specs = [spec_of(family, strategy, seed) for seed in (0, 1)]
    resumes_at_every_epoch(data, specs[0], tmp_path)
    alone = [Trainer(data, spec).fit() for spec in specs]
    for found, wanted in zip(Pack(threads=2).run([Trainer(data, spec).steps() for spec in specs]), alone, strict=True):
        same(found, wanted)
    kept = alone[0].kept
    assert kept is not None
    for name, mask in kept.masks.items():
        assert (values(kept.weights[name])[~mask] == 0).all()
    pruned = sum(int((~mask).sum()) for mask in kept.masks.values())
    assert bool(alone[0].events) == (strategy["name"] not in WITHOUT_EVENTS)
    assert (pruned > 0) == WITHOUT_EVENTS.get(strategy["name"], True)


def test_gates_have_the_same_records_on_two_workers_and_in_a_pack(tmp_path: Path) -> None:
    """Also from starts that are smoothed."""
    (tmp_path / "gates.toml").write_text(STUDY, encoding="utf-8")
    stores = []
    for name, how in (("two", {"workers": 2}), ("pack", {"workers": 1, "pack": 8})):
        run_study(tmp_path / "gates.toml", output=tmp_path / name, progress="none", **how)
        stores.append(open_store(tmp_path / name))
    assert len(stores[0].planned) == 8
    for run_id in stores[0].planned:
        assert stores[0].status(run_id) == "done"
        assert compare_runs(run_path(stores[0].folder, run_id), run_path(stores[1].folder, run_id)) == []


@pytest.mark.parametrize("strategy", [STRATEGIES["snip"], STRATEGIES["grasp"]], ids=lambda s: s["name"])
def test_scores_of_the_loss_see_the_starts_that_training_sees(data: DataSet, strategy: dict[str, Any]) -> None:
    strategy, smoothed = {**strategy, "keep": 0.2}, replace(data, starts="smoothed")
    fits = [Trainer(one, spec_of("phoenix", strategy)).fit() for one in (data, smoothed, smoothed)]
    same(fits[1], fits[2])
    thresholds = [[event["threshold"] for event in fit.events] for fit in fits]
    assert np.isfinite(thresholds).all()
    assert thresholds[0] != thresholds[1]
