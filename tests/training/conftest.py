"""A data set that trains in a second, and run specifications for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dash_hpc.data import DataSet
from tests.small_runs import MakeSpec, relaxing, run_spec

PARTS = {
    "model": {"hidden": 4, "init_U": "orthogonal"},
    "solver": {"method": "rk4", "rtol": 1e-5, "atol": 1e-7, "step": 0.5},
    "training": {"epochs": 6, "prior_points": 50},
    "schedule": {"every": 2, "fraction": 0.1},
}


@pytest.fixture(scope="session")
def dataset() -> DataSet:
    """Ten genes with a little noise; 6 + 2 trajectories of four times."""
    return relaxing(10, [0.0, 1.0, 1.5, 3.0], 6, noise=0.01)


@pytest.fixture
def make_spec() -> MakeSpec:
    """Build a full run specification; keyword arguments change keys of its parts."""

    def build(seed: int = 0, strategy: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        return run_spec(PARTS, strategy or {"name": "none"}, seed, changes)

    return build
