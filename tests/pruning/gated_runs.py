"""Small runs of strategies with gates, thresholds and penalties, on both families."""

from __future__ import annotations

from typing import Any

import numpy as np

from dash_hpc.training import Trainer
from tests.small_runs import run_spec

FAMILIES: dict[str, dict[str, Any]] = {
    "phoenix": {"hidden": 4, "init_U": "orthogonal"},
    "mlp": {"family": "mlp", "hidden": 3},
}


def spec_of(family: str, strategy: dict[str, Any], seed: int = 0, **changes: Any) -> dict[str, Any]:
    """A run of 4 epochs."""
    parts = {
        "model": FAMILIES[family],
        "solver": {"method": "rk4", "rtol": 1e-3, "atol": 1e-5, "step": 0.5},
        "training": {"epochs": 4, "prior_points": 20, "early_stop": 0},
        "schedule": {"every": 3, "fraction": 0.2},
    }
    return run_spec(parts, strategy, seed, changes)


def active(trainer: Trainer) -> int:
    """Weights that are left in the model as it stands."""
    _, masks = trainer.strategy.final(trainer.state.weights, trainer.state.masks)
    return sum(int(np.count_nonzero(mask)) for mask in masks.values())
