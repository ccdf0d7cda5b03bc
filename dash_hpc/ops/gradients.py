"""Loss and gradients of one batch: the half of a training step before the step itself (:mod:`dash_hpc.ops.adam`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.errors import UsageError
from dash_hpc.ops.checks import as_array, as_count, as_number
from dash_hpc.ops.native import native_module
from dash_hpc.ops.phoenix import PRUNABLE, TENSORS, check_masks
from dash_hpc.ops.prior_loss import PriorLoss
from dash_hpc.ops.solver import SolverOptions, checked_intervals
from dash_hpc.ops.state import STATUS_REASONS, Tensors, native_form, values
from dash_hpc.ops.threads import map_in_threads, stop_token

__all__ = [
    "BatchGradients",
    "GradientTask",
    "checked_gradient_tasks",
    "checked_objective",
    "gradients",
    "gradients_many",
]


@dataclass(frozen=True)
class GradientTask:
    """One batch of one run, for the weights with which the model runs (gates and thresholds applied).

    Attributes
    ----------
    weights : mapping of ndarray or csr_array
        The seven tensors, float32 or float64, C-contiguous; matrices may be compressed. Not changed.
    masks : mapping of bool ndarray
        True where a weight is active, in the shape of its tensor's values. A weight outside counts as 0 and its
        gradient is 0; a tensor without a mask is active everywhere, also where it is 0.
    y0, y1, dt, solver, tau, prior
        As in :class:`dash_hpc.ops.EpochTask`.
    index : (B,) int array
        The pairs of the batch, 1 or more.
    widest : int
        Pairs of the epoch's largest batch; 0 (the default) stands for B. The form in which weights are held depends on
        it, and with it the last bits: those of the epoch come with the epoch's own.
    """

    weights: Tensors
    masks: Mapping[str, np.ndarray]
    y0: np.ndarray
    y1: np.ndarray
    dt: np.ndarray
    index: np.ndarray
    solver: Mapping[str, Any] | SolverOptions = SolverOptions()  # noqa: RUF009 - frozen
    tau: float = 1.0
    prior: PriorLoss | None = None
    widest: int = 0

    @property
    def dtype(self) -> np.dtype:
        """Precision of the weights."""
        return np.dtype(self.weights["v"].dtype)

    def run(self) -> BatchGradients:
        """Do what :func:`gradients` does, with arrays that need no cast: the native module checks them."""
        return _run(self) if native_module() is not None else gradients(self)


@dataclass(frozen=True)
class BatchGradients:
    """What one batch gives.

    Attributes
    ----------
    loss : float
        Mean squared error over the batch's observed values (0 when none was observed).
    total : float
        τ·loss + (1 − τ)·prior loss: what the gradients belong to.
    gradients : dict of ndarray
        Of the seven tensors, in the shape of their values and their dtype; 0 outside the masks.
    evaluations : int
        Evaluations of the right-hand side over all samples, rejected steps included.
    status : int
        0, or the solver's status that ended the batch; the gradients are 0 then and the losses mean nothing.
    reason : str or None
        The same as a sentence.
    """

    loss: float
    total: float
    gradients: dict[str, np.ndarray] = field(repr=False)
    evaluations: int
    status: int = 0
    reason: str | None = None


def gradients(task: GradientTask) -> BatchGradients:
    """Solve a batch's pairs and sweep back: loss and gradients, as inside :func:`dash_hpc.ops.train_epoch`.

    Where a gradient is not to be trusted, the batch is done again with shorter steps (docs/numerics.md). With
    :func:`dash_hpc.ops.adam_step` after each batch an epoch has the bits of ``train_epoch``.

    Raises
    ------
    UsageError
        When shapes, indices or options are wrong.
    MemoryError
        With the size that could not be had.
    KeyboardInterrupt
        Within about 0.1 s of Ctrl-C, in the main thread.
    """
    return _run(_checked(task))


def gradients_many(tasks: Sequence[GradientTask], *, threads: int = 1) -> list[BatchGradients]:
    """Do :func:`gradients` for one batch of each of many runs, ``threads`` of them at a time.

    Raises
    ------
    UsageError
        Before anything is computed, when ``threads`` is below 1 or a task is wrong.
    """
    return map_in_threads(_run, checked_gradient_tasks(tasks), threads, "gradients_many")


def checked_gradient_tasks(tasks: Sequence[GradientTask]) -> list[GradientTask]:
    """The tasks with their arrays in the form that the native modules take; UsageError when one is wrong."""
    return [_checked(task) for task in tasks]


def checked_objective(task: Any, weights: Tensors) -> dict[str, Any]:
    """Fields ``y0, y1, dt, tau, prior, solver`` of a task on these weights, as the native modules take them.

    UsageError when they do not fit each other.
    """
    y0, dt = checked_intervals(weights, task.y0, task.dt)
    y1 = as_array(task.y1, y0.dtype, "y1")
    if y1.shape != y0.shape:
        raise UsageError(f"y1 must be {list(y0.shape)} like y0, got {list(y1.shape)}")
    tau = as_number(task.tau, "tau", least=0, most=1)
    if tau < 1.0 and task.prior is None:
        raise UsageError(f"tau must lie in [0, 1], and below 1 a prior loss must be given, got {task.tau!r}")
    if task.prior is not None and not isinstance(task.prior, PriorLoss):
        raise UsageError(f"prior must be a PriorLoss, got {type(task.prior).__name__}")
    if task.prior is not None and (task.prior.states.shape[1:], task.prior.states.dtype) != (y0.shape[1:], y0.dtype):
        raise UsageError(f"the prior loss must have states of {y0.shape[1]} genes in {y0.dtype} like the weights")
    return {"y0": y0, "y1": y1, "dt": dt, "tau": tau, "prior": task.prior, "solver": SolverOptions.of(task.solver)}


def check_pair_numbers(index: np.ndarray, pairs: int, name: str) -> None:
    """Raise UsageError unless all numbers lie in 0 … pairs − 1."""
    if index.min() < 0 or index.max() >= pairs:
        raise UsageError(f"{name} must lie in 0..{pairs - 1}")


def _checked(task: GradientTask) -> GradientTask:
    objective = checked_objective(task, task.weights)
    check_masks(task.weights, task.masks)
    for name in TENSORS:
        if not values(task.weights[name]).flags.c_contiguous:
            raise UsageError(f"{name} must be C-contiguous")
    index = as_array(task.index, np.int64, "index")
    if index.ndim != 1 or not len(index):
        raise UsageError("index must have one axis and at least one pair")
    check_pair_numbers(index, len(objective["y0"]), "index")
    widest = as_count(task.widest, "widest", least=0)
    if widest and widest < len(index):
        raise UsageError(f"widest must be 0 or at least the batch's {len(index)} pairs, got {widest}")
    return replace(task, index=index, widest=widest or len(index), **objective)


def _run(task: GradientTask) -> BatchGradients:
    options = SolverOptions.of(task.solver).as_dict()
    prior = task.prior if task.tau < 1.0 else None
    native = native_module()
    if native is not None:
        loss, prior_loss, found, evaluations, status = native.gradients(
            native_form(task.weights), dict(task.masks), task.y0, task.y1, task.dt, task.index,
            task.widest or len(task.index), task.tau,
            None if prior is None else prior.native_form, **options, stop=stop_token(),
        )  # fmt: skip
        return batch_gradients(task, loss, prior_loss, found, evaluations, status)
    return _run_twin(task, options, prior)


def batch_gradients(
    task: GradientTask, loss: float, prior_loss: float, found: dict[str, np.ndarray], evaluations: int, status: int
) -> BatchGradients:
    """Put what a native module found into words."""
    return _in_words(loss, task.tau * loss + (1.0 - task.tau) * prior_loss, found, evaluations, status)


def _run_twin(task: GradientTask, options: dict[str, Any], prior: PriorLoss | None) -> BatchGradients:
    """The same in plain PyTorch; compressed matrices are spread out."""
    import torch

    from dash_hpc.ops import reference_step
    from dash_hpc.ops.dense import dense_like, dense_tensors, take_back

    y0, y1, dt = (torch.from_numpy(array[task.index]) for array in (task.y0, task.y1, task.dt))
    masks = dense_like(task.weights, {name: task.masks[name] for name in PRUNABLE if name in task.masks})
    weights = {
        name: tensor * masks[name] if name in masks else tensor for name, tensor in dense_tensors(task.weights).items()
    }
    batch = reference_step.batch_gradients(weights, y0, y1, dt, options, task.tau, prior)
    dense = {name: batch.gradients[name] * masks[name] if name in masks else batch.gradients[name] for name in TENSORS}
    found = {name: dense[name].numpy() for name in TENSORS}
    found |= {
        name: np.empty_like(tensor.data) for name, tensor in task.weights.items() if isinstance(tensor, csr_array)
    }
    take_back(task.weights, dense, found)
    return _in_words(batch.loss, batch.total, found, batch.evaluations, batch.status)


def _in_words(loss: float, total: float, found: dict[str, np.ndarray], evaluations: int, status: int) -> BatchGradients:
    return BatchGradients(loss, total, found, evaluations, status, STATUS_REASONS[status] if status else None)
