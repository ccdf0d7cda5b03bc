"""Small stores made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dash_hpc.ids import spec_id
from dash_hpc.store import RunWriter, publish_sealed_text, rebuild_index, write_plan

SPEC: dict[str, Any] = {
    "data": {"kind": "simulate", "genes": 5, "times": [0.0, 2.0]},
    "data_digest": "",
    "model": {"hidden": 3, "dtype": "float32"},
    "training": {"epochs": 4},
    "strategy": {"name": "dash", "lambda_ppi": 0.25, "lambda_motif": 0.5, "omega0": "uniform"},
    "seed": 0,
}


@pytest.fixture
def spec() -> dict[str, Any]:
    return {**SPEC, "strategy": dict(SPEC["strategy"])}


@pytest.fixture
def result() -> dict[str, Any]:
    """What a run hands to ``RunWriter.finish``; the first active weight of W_sums is exactly 0."""
    rng = np.random.default_rng(7)
    shapes = {"W_sums": (3, 5), "W_prods": (3, 5), "U_sums": (5, 3), "U_prods": (5, 3)}
    masks = {name: rng.random(shape) < 0.4 for name, shape in shapes.items()}
    masks["W_sums"][0, 0] = True
    weights = {
        name: np.where(mask, rng.standard_normal(mask.shape), 0).astype(np.float32) for name, mask in masks.items()
    }
    weights["W_sums"][0, 0] = 0.0
    weights |= {name: rng.standard_normal(3).astype(np.float32) for name in ("b_sums", "b_prods")}
    weights["v"] = rng.standard_normal(5).astype(np.float32)
    return {
        "history": {
            "epoch": [1, 2],
            "train_mse": [0.5, 0.25],
            "validation_mse": [0.6, float("nan")],
            "seconds": [0.1, 0.2],
        },
        "events": [
            {
                "epoch": 2,
                "tensor": "W_sums",
                "n_pruned": 9,
                "condition": 3.5,
                "method": "cholesky",
                "seconds_score": 0.1,
            },
            {"epoch": 2, "tensor": "U_prods", "n_pruned": 8, "condition": None, "method": None, "seconds_score": 0.2},
        ],
        "weights": weights,
        "masks": masks,
        "epoch": 2,
        "metrics": {"validation_mse": 0.125, "sparsity": 0.6},
        "genes": ["a", "b", "γ", "d", "e"],
        "stop_reason": "epochs",
        "notes": ["no reference network"],
        "timing": {"seconds_total": 1.5},
    }


@pytest.fixture
def make_store(tmp_path: Path, spec: dict[str, Any], result: dict[str, Any]) -> Callable[[Sequence[str]], Path]:
    """Return a function that writes a store with one run per given state; their seeds are 0, 1, …"""

    def make(states: Sequence[str]) -> Path:
        folder = tmp_path / "out"
        runs = [(spec_id(own), own) for own in ({**spec, "seed": k} for k in range(len(states)))]
        write_plan(folder, runs, study="hand-made", base=tmp_path)
        for (run_id, own), state in zip(runs, states, strict=True):
            if state == "pending":
                continue
            writer = RunWriter(folder, run_id, own, {"host": "here"})
            writer.begin()
            if state == "failed":
                writer.fail("epoch 3: the loss is not finite")
            elif state == "done":
                writer.finish(**result)
        return folder

    return make


@pytest.fixture
def make_hashed(tmp_path: Path, spec: dict[str, Any], result: dict[str, Any]) -> Callable[[Sequence[str]], Path]:
    """Like ``make_store``, with the ids that belong to the specs and all files of a study: what ``verify`` expects."""

    def make(states: Sequence[str]) -> Path:
        folder = tmp_path / "out"
        specs = [{**spec, "seed": k} for k in range(len(states))]
        runs = [(spec_id(own), own) for own in specs]
        write_plan(folder, runs, study="hand-made", base=tmp_path)
        publish_sealed_text(folder / "study.toml", '[study]\nname = "hand-made"\n')
        for (run_id, own), state in zip(runs, states, strict=True):
            writer = RunWriter(folder, run_id, own, {"host": "here"})
            if state == "done":
                writer.finish(**result)
            elif state == "failed":
                writer.fail("epoch 3: the loss is not finite")
            elif state == "running":
                writer.begin()
        rebuild_index(folder)
        return folder

    return make
