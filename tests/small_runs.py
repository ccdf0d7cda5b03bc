"""A data set that trains in a second, run specifications for it, and what is the same of two runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import issparse

from dash_hpc.data import DataSet, Prior, TimeCourse
from dash_hpc.ops.state import values
from dash_hpc.store.checkpoint import CheckpointFile
from dash_hpc.training import Checkpoint, Fit, Trainer

MakeSpec = Callable[..., dict[str, Any]]


def relaxing(genes: int, times: Sequence[float], trajectories: int, noise: float = 0.0) -> DataSet:
    """Genes that relax to a mix of the first three; so many trajectories to train on, and two for validation."""
    rng = np.random.default_rng(17)
    motif = np.zeros((genes, genes))
    motif[rng.integers(0, 3, size=genes), np.arange(genes)] = rng.choice([-1.0, 1.0], size=genes)
    goal = 0.5 + 0.3 * motif.T
    at = np.array(times)

    def course(n: int) -> TimeCourse:
        found = []
        for _ in range(n):
            start = rng.random(genes)
            end = np.clip(goal @ start / genes, 0, 1)
            clean = end + (start - end) * np.exp(-0.6 * at)[:, None]
            found.append(clean + rng.normal(0, noise, clean.shape) if noise else clean)
        return TimeCourse.from_arrays(found, [at] * n)

    train = course(trajectories)
    return DataSet("relaxing", train, course(2), prior=Prior.from_arrays(motif, train.genes))


_TRAINING = {
    "batch": "trajectory", "batch_size": 4, "lr": 5e-3, "v_lr_factor": 5.0, "betas": [0.9, 0.999], "eps": 1e-8,
    "plateau_factor": 0.9, "plateau_patience": 3, "plateau_threshold": 1e-6, "min_lr": 4e-5, "early_stop": 40,
    "reset_lr_at_events": True, "tau": 1.0, "prior_low": -0.5, "prior_high": 0.5,
}  # fmt: skip


def run_spec(
    parts: Mapping[str, Mapping[str, Any]], strategy: Mapping[str, Any], seed: int, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Give a full run specification: the parts, with what all tests have in common, and ``changes`` of their keys."""
    spec: dict[str, Any] = {
        "model": {"dtype": "float32", **parts["model"]},
        "solver": {"max_steps": 1000, **parts["solver"]},
        "training": {**_TRAINING, **parts["training"]},
        "schedule": {"first_epoch": 2, "first_fraction": 0.5, **parts["schedule"]},
        "strategy": dict(strategy),
        "seed": seed,
    }
    for key, value in changes.items():
        home = next(part for part in ("model", "solver", "training", "schedule") if key in spec[part])
        spec[home][key] = value
    return spec


def same(found: Any, wanted: Fit) -> None:
    """Compare bit for bit: the history and the events, seconds apart, and the kept model with its structure."""

    def timeless(table: Any) -> Any:
        return {key: value for key, value in table.items() if not key.startswith("seconds")}

    assert isinstance(found, Fit)
    assert repr(timeless(found.history)) == repr(timeless(wanted.history))
    assert [repr(timeless(event)) for event in found.events] == [repr(timeless(event)) for event in wanted.events]
    assert (found.epoch, found.stop_reason) == (wanted.epoch, wanted.stop_reason)
    same_model(found, wanted)


def same_model(found: Fit, wanted: Fit) -> None:
    """Compare the kept models bit for bit."""
    assert found.kept is not None
    assert wanted.kept is not None
    assert (found.kept.epoch, found.kept.validation_mse) == (wanted.kept.epoch, wanted.kept.validation_mse)
    assert found.kept.weights.keys() == wanted.kept.weights.keys()
    for name, value in found.kept.weights.items():
        other = wanted.kept.weights[name]
        assert type(value) is type(other)
        assert value.shape == other.shape
        assert values(value).tobytes() == values(other).tobytes(), name
        if issparse(value):
            np.testing.assert_array_equal(value.indices, other.indices)
            np.testing.assert_array_equal(value.indptr, other.indptr)
    assert found.kept.masks.keys() == wanted.kept.masks.keys()
    for name, mask in found.kept.masks.items():
        assert mask.tobytes() == wanted.kept.masks[name].tobytes()


def resumes_at_every_epoch(dataset: DataSet, spec: Mapping[str, Any], folder: Path) -> None:
    """Train whole, then go on from the checkpoint of each epoch, stored and read again: the same bits each time."""
    made: list[Checkpoint] = []
    whole = Trainer(dataset, spec)
    expected = whole.fit(checkpoint=made.append, checkpoint_seconds=0)
    assert len(made) == expected.epoch - 1
    for k, checkpoint in enumerate(made):
        file = CheckpointFile(folder, f"{k:016x}")
        file.paths[0].parent.mkdir(parents=True, exist_ok=True)
        file.save(checkpoint.epoch, checkpoint.facts, checkpoint.arrays, {})
        stored = file.load()
        assert stored is not None
        again = Trainer(dataset, spec)
        same(again.fit(resume=Checkpoint(stored.epoch, stored.facts, stored.arrays)), expected)
        assert again.state.step == whole.state.step
        for part in ("weights", "moment1", "moment2", "masks"):
            for name, value in getattr(whole.state, part).items():
                assert values(value).tobytes() == values(getattr(again.state, part)[name]).tobytes(), (part, name)
