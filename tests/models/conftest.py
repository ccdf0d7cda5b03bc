"""A data set that trains in a second, and run specifications of any family for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dash_hpc.data import DataSet
from tests.small_runs import MakeSpec, relaxing, run_spec

PARTS = {
    "model": {"hidden": 3},
    "solver": {"method": "dopri5", "rtol": 1e-3, "atol": 1e-5, "step": "auto"},
    "training": {"epochs": 4, "prior_points": 20},
    "schedule": {"every": 3, "fraction": 0.2},
}


@pytest.fixture(scope="session")
def dataset() -> DataSet:
    """Eight genes; 3 + 2 trajectories of one step."""
    return relaxing(8, [0.0, 1.0], 3)


@pytest.fixture
def make_spec() -> MakeSpec:
    """Build a full run specification from ``[model]`` and a strategy; further arguments change keys of its parts."""

    def build(model: Mapping[str, Any], strategy: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
        return run_spec({**PARTS, "model": {**PARTS["model"], **model}}, strategy, 0, changes)

    return build
