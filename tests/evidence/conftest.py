"""SIM350 with 5 % noise, as the specification of the method measures it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dash_hpc.data import DataSet, build


@dataclass(frozen=True)
class Sim350:
    """``noisy``: as a run gets it; ``clean``: the same trajectories without noise (N, K, G)."""

    noisy: DataSet
    clean: np.ndarray


@pytest.fixture(scope="session")
def sim350() -> Sim350:
    if "DASH_HPC_DATA" not in os.environ:
        pytest.skip("needs the published data: set DASH_HPC_DATA")
    spec = {"kind": "catalogue", "name": "sim350", "prior_noise": 0.05}
    noisy = build({**spec, "expression_noise": 0.025}, seed=0, base=Path())
    clean = build(spec, seed=0, base=Path())
    return Sim350(noisy, np.stack([trajectory.values for trajectory in clean.train.trajectories]))
