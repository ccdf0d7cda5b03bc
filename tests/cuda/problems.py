"""Problems that the tests of this folder share."""

from __future__ import annotations

import copy

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.models import initial_weights
from dash_hpc.ops import PRUNABLE, TENSORS, SolverOptions, TrainState, train_epoch
from dash_hpc.ops.state import values
from dash_hpc.ops.train import EpochTask
from dash_hpc.rng import stream

TIGHT = SolverOptions(rtol=1e-8, atol=1e-10)
#: Genes, hidden units, samples around the edges of warps (32 genes), gene pairs (64), hidden units (8) and tiles (4).
SIZES = [(1, 1, 1), (31, 7, 3), (32, 8, 4), (33, 9, 5), (63, 3, 2), (64, 16, 8), (65, 17, 9), (96, 1, 1), (130, 20, 6)]
DENSITIES = [1.0, 0.5, 0.08, "mixed"]


def model(G, m, density=1.0, dtype=np.float64, seed=0):
    """Weights and masks; "mixed": each matrix has another share of active entries, one has none."""
    rng = stream(seed, "test-cuda", G, m)
    weights = initial_weights(G, m, rng, dtype=dtype)
    shares = [1.0, 0.1, 0.0, 0.3] if density == "mixed" else [density] * 4
    masks = {name: rng.random(weights[name].shape) < share for name, share in zip(PRUNABLE, shares, strict=True)}
    return TrainState.fresh(weights, masks)


def pairs(G, n, dtype=np.float64, seed=0):
    """Start states, targets, intervals."""
    rng = stream(seed, "test-cuda-pairs", G, n)
    y0, y1 = (rng.random((n, G)).astype(dtype) for _ in range(2))
    return y0, y1, rng.choice([0.3, 1.0, 2.0, 4.0], size=n)


def task(state, y0, y1, dt, batch=4, lr=1e-3, solver=TIGHT, seed=0):
    """An epoch in batches of `batch`, in an order of its own; `state` is copied."""
    n = len(dt)
    pointer = np.unique([*range(0, n, batch), n])
    index = stream(seed, "test-cuda-order").permutation(n)
    return EpochTask(copy.deepcopy(state), y0, y1, dt, pointer, index, lr=dict.fromkeys(TENSORS, lr), solver=solver)


def on_cpu(work):
    """The CPU's state and result after the task's epoch."""
    state = copy.deepcopy(work.state)
    result = train_epoch(
        state,
        work.y0,
        work.y1,
        work.dt,
        work.batch_ptr,
        work.batch_index,
        lr=work.lr,
        solver=work.solver,
        tau=work.tau,
        prior=work.prior,
    )
    return state, result


def compressed(state):
    """The same state with its matrices as csr_array of the active entries."""
    weights, moments, masks = dict(state.weights), [dict(state.moment1), dict(state.moment2)], {}
    for name in PRUNABLE:
        rows, columns = np.nonzero(state.masks[name])
        pointer = np.searchsorted(rows, np.arange(state.weights[name].shape[0] + 1))
        entries = state.weights[name][rows, columns]
        weights[name] = csr_array((entries, columns, pointer), state.weights[name].shape)
        for moment in moments:
            moment[name] = moment[name][rows, columns]
        masks[name] = np.ones(len(rows), bool)
    return TrainState(weights, *moments, state.step, masks)


def difference(found, wanted):
    """Largest difference of two states relative to the largest number of each tensor."""
    worst = 0.0
    for part in ("weights", "moment1", "moment2"):
        for name in TENSORS:
            a, b = values(getattr(found, part)[name]), values(getattr(wanted, part)[name])
            worst = max(worst, float(np.abs(a - b).max(initial=0.0)) / max(float(np.abs(b).max(initial=0.0)), 1e-300))
    return worst


def same_bits(a, b):
    """Whether two states are equal to the last bit."""
    return a.step == b.step and all(
        np.array_equal(values(getattr(a, part)[name]), values(getattr(b, part)[name]))
        for part in ("weights", "moment1", "moment2")
        for name in TENSORS
    )
