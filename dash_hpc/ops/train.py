"""Training operators: a whole epoch without Python in between, and a differentiable batch loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from dash_hpc.errors import UsageError
from dash_hpc.ops import reference
from dash_hpc.ops.native import native_module
from dash_hpc.ops.solver import SolverOptions, checked_intervals, torch_weights
from dash_hpc.ops.state import STATUS_REASONS, TENSORS, EpochResult, TrainState

__all__ = ["train_epoch"]


def train_epoch(
    state: TrainState,
    y0: np.ndarray,
    y1: np.ndarray,
    dt: np.ndarray,
    batch_ptr: np.ndarray,
    batch_index: np.ndarray,
    *,
    lr: Mapping[str, float],
    betas: Sequence[float] = (0.9, 0.999),
    eps: float = 1e-8,
    solver: Mapping[str, Any] | SolverOptions = SolverOptions(),  # noqa: B008 - frozen
) -> EpochResult:
    """Train one epoch of pairwise one-step prediction: solve, MSE, discrete adjoint, masked Adam.

    Parameters
    ----------
    state : TrainState
        Weights, moments, masks and step count; changed in place.
    y0, y1 : (N, G) arrays
        Observed states at the start and the end of each pair, cast to the weights' dtype.
    dt : (N,) array
        Interval of each pair, in the data's unit of time.
    batch_ptr : (n_batches + 1,) int array
        Batch k holds the pairs ``batch_index[batch_ptr[k]:batch_ptr[k + 1]]``; one Adam step each, in order.
    batch_index : (N_used,) int array
    lr : mapping of float
        Learning rate of each of the seven tensors.
    betas, eps : float
        Adam's constants (Kingma & Ba 2015), no weight decay.
    solver : SolverOptions or mapping

    Returns
    -------
    EpochResult
        Losses before each step. When a sample cannot be solved the epoch stops before that batch's step,
        ``status`` and ``reason`` say why, and the state holds the last good step.

    Raises
    ------
    UsageError
        When shapes, indices or options are wrong.
    """
    options = SolverOptions.of(solver)
    y0, dt = checked_intervals(state.weights, y0, dt)
    y1 = np.ascontiguousarray(y1, dtype=y0.dtype)
    batch_ptr = np.ascontiguousarray(batch_ptr, dtype=np.int64)
    batch_index = np.ascontiguousarray(batch_index, dtype=np.int64)
    if y1.shape != y0.shape:
        raise UsageError(f"y1 must be {list(y0.shape)} like y0, got {list(y1.shape)}")
    if len(batch_ptr) < 1 or batch_ptr[0] != 0 or batch_ptr[-1] != len(batch_index) or (np.diff(batch_ptr) < 1).any():
        raise UsageError("batch_ptr must rise from 0 to len(batch_index), every batch with at least one pair")
    if len(batch_index) and (batch_index.min() < 0 or batch_index.max() >= len(y0)):
        raise UsageError(f"batch_index must lie in 0..{len(y0) - 1}")
    missing = [name for name in TENSORS if name not in lr]
    if missing:
        raise UsageError(f"lr must name every tensor; missing: {', '.join(missing)}")

    losses = np.full(len(batch_ptr) - 1, np.nan)
    native = native_module()
    if native is not None:
        state.step, evaluations, status = native.train_epoch(
            state.weights, state.moment1, state.moment2, state.masks, state.step,
            y0, y1, dt, batch_ptr, batch_index, losses,
            [float(lr[name]) for name in TENSORS], float(betas[0]), float(betas[1]), float(eps),
            **options.as_dict(),
        )  # fmt: skip
    else:
        batches = []
        for k in range(len(losses)):
            chosen = batch_index[batch_ptr[k] : batch_ptr[k + 1]]
            batches.append((torch.from_numpy(y0[chosen]), torch.from_numpy(y1[chosen]), torch.from_numpy(dt[chosen])))
        state.step, found, evaluations, status = reference.train_epoch(
            torch_weights(state.weights), torch_weights(state.moment1), torch_weights(state.moment2),
            {name: torch.from_numpy(mask) for name, mask in state.masks.items()}, state.step,
            batches, lr, (betas[0], betas[1]), eps, options.as_dict(),
        )  # fmt: skip
        losses[: len(found)] = found
    return EpochResult(losses, int(evaluations), int(status), STATUS_REASONS[status] if status else None)
