"""A data set that trains in a second, and run specifications for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from dash_hpc.data import DataSet, Prior, TimeCourse

G = 10
TIMES = np.array([0.0, 1.0, 1.5, 3.0])


@pytest.fixture(scope="session")
def dataset() -> DataSet:
    """Ten genes that relax to a mix of the first three, with a little noise; 6 + 2 trajectories."""
    rng = np.random.default_rng(17)
    motif = np.zeros((G, G))
    motif[rng.integers(0, 3, size=G), np.arange(G)] = rng.choice([-1.0, 1.0], size=G)
    goal = 0.5 + 0.3 * motif.T

    def course(n: int) -> TimeCourse:
        values = []
        for _ in range(n):
            start = rng.random(G)
            end = np.clip(goal @ start / G, 0, 1)
            values.append(end + (start - end) * np.exp(-0.6 * TIMES)[:, None] + rng.normal(0, 0.01, (4, G)))
        return TimeCourse.from_arrays(values, [TIMES] * n)

    train = course(6)
    return DataSet("relaxing", train, course(2), prior=Prior.from_arrays(motif, train.genes))


@pytest.fixture
def make_spec() -> Callable[..., dict[str, Any]]:
    """Build a full run specification; keyword arguments change keys of its parts."""

    def build(seed: int = 0, strategy: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "model": {"hidden": 4, "init_U": "orthogonal", "dtype": "float32"},
            "solver": {"method": "rk4", "rtol": 1e-5, "atol": 1e-7, "step": 0.5, "max_steps": 1000},
            "training": {
                "epochs": 6, "batch": "trajectory", "batch_size": 4, "lr": 5e-3, "v_lr_factor": 5.0,
                "betas": [0.9, 0.999], "eps": 1e-8, "plateau_factor": 0.9, "plateau_patience": 3,
                "plateau_threshold": 1e-6, "min_lr": 4e-5, "early_stop": 40, "reset_lr_at_events": True,
                "tau": 1.0, "prior_points": 50, "prior_low": -0.5, "prior_high": 0.5,
            },
            "schedule": {"first_epoch": 2, "first_fraction": 0.5, "every": 2, "fraction": 0.1},
            "strategy": dict(strategy or {"name": "none"}),
            "seed": seed,
        }  # fmt: skip
        for key, value in changes.items():
            home = next(part for part in ("model", "solver", "training", "schedule") if key in spec[part])
            spec[home][key] = value
        return spec

    return build
