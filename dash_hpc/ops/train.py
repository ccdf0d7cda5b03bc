"""Training operators: whole epochs without Python in between, of one run or of many side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dash_hpc.errors import UsageError
from dash_hpc.ops.checks import as_array, as_mapping, as_number
from dash_hpc.ops.gradients import check_pair_numbers, checked_objective
from dash_hpc.ops.native import native_module
from dash_hpc.ops.phoenix import TENSORS, check_state
from dash_hpc.ops.prior_loss import PriorLoss
from dash_hpc.ops.solver import SolverOptions
from dash_hpc.ops.state import STATUS_REASONS, EpochResult, TrainState, check_apart, native_form, values
from dash_hpc.ops.threads import map_in_threads, stop_token

__all__ = ["EpochTask", "train_epoch", "train_many"]


@dataclass(frozen=True)
class EpochTask:
    """One epoch of one run: what :func:`train_epoch` takes.

    Attributes
    ----------
    state : TrainState
        Weights, moments, masks and step count; changed in place.
    y0, y1 : (N, G) arrays
        Observed states at the start and the end of each pair, cast to the weights' dtype. NaN in ``y1`` = not observed:
        such a value takes no part in the loss, which is the mean over the observed values of a batch.
    dt : (N,) array
        Interval of each pair, in the unit of time of v.
    batch_ptr : (n_batches + 1,) int array
        Batch k holds the pairs ``batch_index[batch_ptr[k]:batch_ptr[k + 1]]``; one Adam step each, in order.
    batch_index : (N_used,) int array
    lr : mapping of float
        Learning rate of each of the seven tensors.
    betas, eps : float
        Adam's constants (Kingma & Ba 2015), no weight decay.
    solver : SolverOptions or mapping
    tau : float in [0, 1], default 1
        Weight of the data in the loss τ·MSE + (1 − τ)·prior.
    prior : PriorLoss, optional
        Needed when τ < 1; not read otherwise.
    """

    state: TrainState
    y0: np.ndarray
    y1: np.ndarray
    dt: np.ndarray
    batch_ptr: np.ndarray
    batch_index: np.ndarray
    lr: Mapping[str, float]
    betas: Sequence[float] = (0.9, 0.999)
    eps: float = 1e-8
    solver: Mapping[str, Any] | SolverOptions = SolverOptions()  # noqa: RUF009 - frozen
    tau: float = 1.0
    prior: PriorLoss | None = None


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
    tau: float = 1.0,
    prior: PriorLoss | None = None,
) -> EpochResult:
    """Train one epoch of pairwise one-step prediction: solve, MSE, discrete adjoint, masked Adam.

    Parameters as in :class:`EpochTask`.

    Returns
    -------
    EpochResult
        Data losses (MSE) before each step. When a sample cannot be solved the epoch stops before that batch's step,
        ``status`` and ``reason`` say why, and the state holds the last good step.

    Raises
    ------
    UsageError
        When shapes, indices or options are wrong.
    MemoryError
        With the size that could not be had; the state is as it was before the call.
    KeyboardInterrupt
        Within about 0.1 s of Ctrl-C, in the main thread; the state is as it was before the call. A signal whose handler
        raises nothing (:class:`dash_hpc.execution.StopFlag`) does not end the epoch: its handler runs, the epoch is
        finished, and whoever looks at the flag stops between two epochs.
    """
    return _run(_checked(EpochTask(state, y0, y1, dt, batch_ptr, batch_index, lr, betas, eps, solver, tau, prior)))


def train_many(tasks: Sequence[EpochTask], *, threads: int = 1) -> list[EpochResult]:
    """Train one epoch of each of many runs, ``threads`` of them at a time.

    Each run is worked on by one thread and has the bits that it has alone: they may differ in everything. After an
    interrupt or an error each state has either its whole epoch behind it or none of it.

    Raises
    ------
    UsageError
        Before any run is touched: when ``threads`` is below 1, two tasks share a state, or a task is wrong.
    """
    return map_in_threads(_run, checked_tasks(tasks), threads, "train_many")


def checked_tasks(tasks: Sequence[EpochTask]) -> list[EpochTask]:
    """The tasks with their arrays in the form that the native modules take; UsageError when one is wrong."""
    if len({id(task.state) for task in tasks}) < len(tasks):
        raise UsageError("train_many: two tasks share one training state; each run needs its own")
    checked = [_checked(task) for task in tasks]
    if len(tasks) > 1:
        check_apart(
            {
                f"{label} of task {k}": array
                for k, task in enumerate(tasks)
                for label, array in task.state.changed_arrays().items()
            }
        )
    return checked


def _checked(task: EpochTask) -> EpochTask:
    if not isinstance(task.state, TrainState):
        raise UsageError(f"state must be a TrainState, got {type(task.state).__name__}")
    check_state(task.state)
    objective = checked_objective(task, task.state.weights)
    batch_ptr = as_array(task.batch_ptr, np.int64, "batch_ptr")
    batch_index = as_array(task.batch_index, np.int64, "batch_index")
    if batch_ptr.ndim != 1 or batch_index.ndim != 1:
        raise UsageError("batch_ptr and batch_index must have one axis")
    if (
        len(batch_ptr) < 2
        or batch_ptr[0] != 0
        or batch_ptr[-1] != len(batch_index)
        or (batch_ptr[1:] <= batch_ptr[:-1]).any()
    ):
        raise UsageError("batch_ptr must rise from 0 to len(batch_index), every batch with at least one pair")
    check_pair_numbers(batch_index, len(objective["y0"]), "batch_index")
    missing = [name for name in TENSORS if name not in as_mapping(task.lr, "lr")]
    if missing:
        raise UsageError(f"lr must name every tensor; missing: {', '.join(missing)}")
    if not isinstance(task.betas, (tuple, list)) or len(task.betas) != 2:
        raise UsageError(f"betas must be two numbers, got {task.betas!r}")
    return replace(
        task,
        batch_ptr=batch_ptr,
        batch_index=batch_index,
        lr={name: as_number(task.lr[name], f"lr of {name}", least=0) for name in TENSORS},
        betas=[as_number(beta, "betas", least=0, most=1, open_at=(1,)) for beta in task.betas],
        eps=as_number(task.eps, "eps", least=0, open_at=(0,)),
        **objective,
    )


def _run(task: EpochTask) -> EpochResult:
    state, options = task.state, SolverOptions.of(task.solver).as_dict()
    losses = np.full(len(task.batch_ptr) - 1, np.nan)
    prior = task.prior if task.tau < 1.0 else None
    native = native_module()
    if native is not None:
        state.step, evaluations, status = native.train_epoch(
            native_form(state.weights), state.moment1, state.moment2, state.masks, state.step,
            task.y0, task.y1, task.dt, task.batch_ptr, task.batch_index, losses,
            [float(task.lr[name]) for name in TENSORS], float(task.betas[0]), float(task.betas[1]), float(task.eps),
            float(task.tau), None if prior is None else prior.native_form, **options, stop=stop_token(),
        )  # fmt: skip
    else:
        evaluations, status = _run_twin(task, options, losses)
    return EpochResult(losses, int(evaluations), int(status), STATUS_REASONS[status] if status else None)


def _run_twin(task: EpochTask, options: dict[str, Any], losses: np.ndarray) -> tuple[int, int]:
    """The same in plain PyTorch; compressed matrices are spread out and taken back."""
    import torch

    from dash_hpc.ops import reference_step
    from dash_hpc.ops.dense import dense_like, dense_tensors, take_back

    state = task.state
    batches = []
    for k in range(len(losses)):
        chosen = task.batch_index[task.batch_ptr[k] : task.batch_ptr[k + 1]]
        start, end, interval = (torch.from_numpy(array[chosen]) for array in (task.y0, task.y1, task.dt))
        batches.append((start, end, interval))
    weights = dense_tensors(state.weights)
    moment1, moment2 = (dense_like(state.weights, moment) for moment in (state.moment1, state.moment2))
    masks = dense_like(state.weights, state.masks)
    state.step, found, evaluations, status = reference_step.train_epoch(
        weights, moment1, moment2, masks, state.step, batches, task.lr, (task.betas[0], task.betas[1]), task.eps,
        options, task.tau, task.prior if task.tau < 1.0 else None,
    )  # fmt: skip
    losses[: len(found)] = found
    take_back(state.weights, weights, {name: values(state.weights[name]) for name in TENSORS})
    take_back(state.weights, moment1, state.moment1)
    take_back(state.weights, moment2, state.moment2)
    return evaluations, status
