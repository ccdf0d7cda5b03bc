"""Arguments of an epoch that is right, and arrays of other layouts, for the tests of what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.models import initial_weights
from dash_hpc.ops import PRUNABLE, PriorLoss, TrainState
from dash_hpc.ops.state import native_form
from dash_hpc.rng import stream

G, M, N = 6, 3, 5
SOLVER = {"method": "dopri5", "rtol": 1e-5, "atol": 1e-7, "step": 0.1, "max_steps": 100}


def epoch(compressed: bool = False) -> dict[str, Any]:
    """Arguments of an epoch that is right, by the names that the CUDA module uses."""
    rng = stream(0, "test-arguments")
    weights = initial_weights(G, M, rng)
    if compressed:
        weights |= {name: csr_array(weights[name] * (rng.random(weights[name].shape) < 0.6)) for name in PRUNABLE}
    state = TrainState.fresh(weights)
    prior = PriorLoss(csr_array(np.eye(G)), n_points=4, low=-1, high=1, rng=rng, dtype=np.dtype(np.float32))
    return {
        "weights": native_form(state.weights), "moment1": state.moment1, "moment2": state.moment2,
        "masks": state.masks, "step": 0, "y0": rng.random((N, G)).astype(np.float32),
        "y1": rng.random((N, G)).astype(np.float32), "dt": np.ones(N), "batch_ptr": np.array([0, 2, N]),
        "batch_index": np.arange(N), "loss": np.zeros(2), "lr": [1e-3] * 7, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8,
        "tau": 0.5, "prior": prior.native_form, "solver": dict(SOLVER),
    }  # fmt: skip


def misaligned(array: np.ndarray) -> np.ndarray:
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    return memory.view(array.dtype).reshape(array.shape)


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array
