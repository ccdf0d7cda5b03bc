"""Runs recorded as a study would record them, with models that nobody trained: for tests of what is told of a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dash_hpc.data import DataSet
from dash_hpc.evaluation import evaluate
from dash_hpc.models import Phoenix
from dash_hpc.ops import PRUNABLE
from dash_hpc.store import RunWriter


def record(
    folder: Path, run_id: str, spec: dict[str, Any], dataset: DataSet, *, sparsity: float,
    provenance: Mapping[str, Any], notes: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write one finished run: random weights of the given sparsity, and a history that ends near its error."""
    rng = np.random.default_rng(int(run_id, 16) % 2**32)
    # A structured model has an m of its own.
    model = Phoenix.initial(dataset.n_genes, 9 if spec["strategy"]["name"] == "structured" else 4, rng)
    weights = model.arrays()
    masks = {name: rng.random(weights[name].shape) >= sparsity for name in PRUNABLE}
    for name, mask in masks.items():
        weights[name] = np.where(mask, rng.normal(scale=0.1, size=mask.shape), 0).astype(np.float32)
    metrics = evaluate(weights, masks, dataset, solver=spec["solver"], model={"hidden": 4})
    epochs = np.arange(1, 13)
    history = {
        "epoch": epochs,
        "train_mse": 0.1 / epochs,
        "validation_mse": metrics["validation_mse"] * (1 + 1 / epochs),
        "lr": np.full(12, 1e-3),
        "sparsity": np.where(epochs >= 3, sparsity, 0.0),
        "seconds": np.full(12, 0.1),
    }
    events = [{"epoch": 3, "tensor": name, "n_before": 80, "n_pruned": 56, "threshold": 0.1} for name in PRUNABLE]
    RunWriter(folder, run_id, spec, dict(provenance)).finish(
        history=history,
        events=events if sparsity else [],
        weights=weights,
        masks=masks,
        epoch=11,
        metrics=metrics,
        genes=dataset.genes,
        stop_reason="epochs",
        notes=tuple(notes),
    )
