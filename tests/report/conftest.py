"""A small store made without training: random models on a simulated data set, recorded as a study would record them."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.data import build
from dash_hpc.evaluation import evaluate, evaluation_notes
from dash_hpc.models import Phoenix
from dash_hpc.store import RunWriter, open_store, write_plan
from dash_hpc.study import parse_study, plan

STUDY = """
[study]
name = "small"
description = "random models, no training"
[data]
kind = "simulate"
genes = 20
regulators = 6
edges = 30
trajectories = 8
test_trajectories = 3
[model]
hidden = 4
[training]
epochs = 12
[sweep]
seeds = [0, 1]
[[strategy]]
name = "none"
[[strategy]]
name = "imp"
[[strategy]]
name = "bioprune"
[[strategy]]
name = "dash"
lambda_ppi = [0.05, 0.5]
lambda_motif = [0.01, 0.5]
"""
PROVENANCE = {
    "dash_hpc": "0.1.0",
    "git": "0123456789abcdef0123456789abcdef01234567+changes",
    "python": "3.11.7",
    "native": {"available": True, "isa": "avx2", "built_isas": ["baseline", "avx2"], "compiler": "12.2.0"},
    "host": "here",
    "command": ["/opt/venv/bin/dash-hpc", "run", "small.toml", "--set", "sweep.seeds=[0, 1]"],
    "started": "2026-01-02T03:04:05.678+00:00",
    "ended": "2026-01-02T03:05:06.789+00:00",
}
PRUNED = ("W_sums", "W_prods", "U_sums", "U_prods")


def record(folder, spec, dataset, *, sparsity, made_with):
    """Write one finished run: random weights of the given sparsity, and a history that ends near its error."""
    rng = np.random.default_rng(int(spec.id, 16) % 2**32)
    # A structured model has an m of its own.
    model = Phoenix.initial(dataset.n_genes, 9 if spec.spec["strategy"]["name"] == "structured" else 4, rng)
    weights = model.arrays()
    masks = {name: rng.random(weights[name].shape) >= sparsity for name in PRUNED}
    for name, mask in masks.items():
        weights[name] = np.where(mask, rng.normal(scale=0.1, size=mask.shape), 0).astype(np.float32)
    metrics = evaluate(weights, masks, dataset, solver=spec.spec["solver"], model={"hidden": 4})
    epochs = np.arange(1, 13)
    history = {
        "epoch": epochs,
        "train_mse": 0.1 / epochs,
        "validation_mse": metrics["validation_mse"] * (1 + 1 / epochs),
        "lr": np.full(12, 1e-3),
        "sparsity": np.where(epochs >= 3, sparsity, 0.0),
        "seconds": np.full(12, 0.1),
    }
    events = [{"epoch": 3, "tensor": name, "n_before": 80, "n_pruned": 56, "threshold": 0.1} for name in PRUNED]
    writer = RunWriter(folder, spec.id, spec.spec, {**PROVENANCE, **made_with})
    writer.finish(
        history=history,
        events=events if sparsity else [],
        weights=weights,
        masks=masks,
        epoch=11,
        metrics=metrics,
        genes=dataset.genes,
        stop_reason="epochs",
        notes=evaluation_notes(dataset),
    )


def fill(folder, text=STUDY, *, fail=(), made_with=None):
    """Fill ``folder`` with the runs of a study; run numbers in ``fail`` are recorded as failed.

    ``made_with`` has what is different in the provenance of some runs, by their numbers.
    """
    study = parse_study(text)
    runs = plan(study, "")
    write_plan(folder, [(run.id, run.spec) for run in runs], study=study.name, base=folder)
    (folder / "study.toml").write_text(study.to_toml(), encoding="utf-8")
    for number, run in enumerate(runs):
        if number in fail:
            writer = RunWriter(folder, run.id, run.spec, {})
            writer.begin()
            writer.fail("diverged at epoch 2 <state> & infinite")
            continue
        dataset = build(run.spec["data"], seed=run.spec["seed"], base=folder)
        sparsity = 0.0 if run.spec["strategy"]["name"] == "none" else 0.75
        record(folder, run, dataset, sparsity=sparsity, made_with=(made_with or {}).get(number, {}))
    return open_store(folder)


@pytest.fixture(scope="session")
def small_store(tmp_path_factory):
    """Fourteen runs, one of them failed."""
    return fill(tmp_path_factory.mktemp("small"), fail=(3,))


@pytest.fixture(scope="session")
def make_store():
    """The function that fills a folder with the runs of a study."""
    return fill


@pytest.fixture(scope="session")
def study_text():
    """The study behind `small_store`, as TOML."""
    return STUDY
