"""A data set that trains in a second, and run specifications of any family for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from dash_hpc.data import DataSet, Prior, TimeCourse

G = 8
TIMES = np.array([0.0, 1.0])


@pytest.fixture(scope="session")
def dataset() -> DataSet:
    """Eight genes that relax to a mix of the first three; 3 + 2 trajectories."""
    rng = np.random.default_rng(17)
    motif = np.zeros((G, G))
    motif[rng.integers(0, 3, size=G), np.arange(G)] = rng.choice([-1.0, 1.0], size=G)
    goal = 0.5 + 0.3 * motif.T

    def course(n: int) -> TimeCourse:
        values = []
        for _ in range(n):
            start = rng.random(G)
            end = np.clip(goal @ start / G, 0, 1)
            values.append(end + (start - end) * np.exp(-0.6 * TIMES)[:, None])
        return TimeCourse.from_arrays(values, [TIMES] * n)

    train = course(3)
    return DataSet("relaxing", train, course(2), prior=Prior.from_arrays(motif, train.genes))


@pytest.fixture
def make_spec() -> Callable[..., dict[str, Any]]:
    """Build a full run specification from ``[model]`` and a strategy; further arguments change keys of its parts."""

    def build(model: Mapping[str, Any], strategy: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "model": {"hidden": 3, "dtype": "float32", **model},
            "solver": {"method": "dopri5", "rtol": 1e-3, "atol": 1e-5, "step": "auto", "max_steps": 1000},
            "training": {
                "epochs": 4, "batch": "trajectory", "batch_size": 4, "lr": 5e-3, "v_lr_factor": 5.0,
                "betas": [0.9, 0.999], "eps": 1e-8, "plateau_factor": 0.9, "plateau_patience": 3,
                "plateau_threshold": 1e-6, "min_lr": 4e-5, "early_stop": 40, "reset_lr_at_events": True,
                "tau": 1.0, "prior_points": 20, "prior_low": -0.5, "prior_high": 0.5,
            },
            "schedule": {"first_epoch": 2, "first_fraction": 0.5, "every": 3, "fraction": 0.2},
            "strategy": dict(strategy),
            "seed": 0,
        }  # fmt: skip
        for key, value in changes.items():
            home = next(part for part in ("model", "solver", "training", "schedule") if key in spec[part])
            spec[home][key] = value
        return spec

    return build
