"""The work of one epoch: a pruning event, the training steps, the validation."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from dash_hpc.errors import RunFailed
from dash_hpc.ops.events import ScoreTask, SelectTask
from dash_hpc.ops.mse import mean_squared_error
from dash_hpc.ops.state import Matrix, Solution, TrainState
from dash_hpc.ops.train import EpochTask
from dash_hpc.pruning.events import event as pruning_event
from dash_hpc.rng import stream
from dash_hpc.training.batches import epoch_batches
from dash_hpc.training.build import BuildTask

if TYPE_CHECKING:
    from dash_hpc.training.trainer import Trainer

__all__ = ["build", "event", "train", "validate"]


def event(
    trainer: Trainer, epoch: int, fraction: float, clock: dict[str, float]
) -> Generator[ScoreTask | SelectTask, Any, list[dict[str, Any]]]:
    """Score, select and remove weights; return the records of the event, one per tensor."""
    try:
        records = yield from pruning_event(trainer.strategy, trainer.state, epoch, fraction)
    except RunFailed as error:
        raise RunFailed(f"epoch {epoch}: {error}") from error
    for timer in ("score", "select"):
        clock[timer] += sum(record[f"seconds_{timer}"] for record in records)
    return records


def train(trainer: Trainer, epoch: int, lr: Mapping[str, float], clock: dict[str, float]) -> Generator[Any, Any, float]:
    """Train one epoch with the rates ``lr``; return the mean MSE over its observed values, each before its step."""
    options = trainer.options
    began = perf_counter()
    pointer, index = epoch_batches(
        trainer.train_examples.trajectory,
        options["batch"],
        int(options["batch_size"]),
        stream(trainer.seed, "batch-order", epoch),
    )
    found, betas, eps = trainer.train_examples, options["betas"], float(options["eps"])
    task = EpochTask(
        trainer.state, found.y0, found.y1, found.dt, pointer, index, dict(lr), betas, eps, trainer.solver,
        trainer.tau(epoch), trainer.prior,
    )  # fmt: skip
    if trainer.stepwise is None:
        result = yield trainer.family.epoch_task(task)
    else:
        result = yield from trainer.stepwise.steps(task, epoch)
    clock["train"] += perf_counter() - began
    if result.reason is not None or not np.isfinite(result.loss).all():
        batch = int(np.argmax(~np.isfinite(result.loss)))
        reason = result.reason or "the loss is not finite"
        raise RunFailed(f"epoch {epoch}, batch {batch + 1} of {len(result.loss)}: {reason}")
    return float(np.average(result.loss, weights=np.add.reduceat(found.weight[index], pointer[:-1])))


def build(trainer: Trainer, epoch: int, clock: dict[str, float]) -> Generator[Any, Any, float]:
    """Take over the model that the strategy builds; return its MSE on the training data."""
    began = perf_counter()
    state, found = trainer.state, trainer.train_examples
    built = yield BuildTask(trainer.strategy, dict(state.weights), dict(state.masks))
    if built is not None:
        trainer.state = TrainState.fresh(*built)
    weights, _ = trainer.strategy.final(trainer.state.weights, trainer.state.masks)
    solution = yield trainer.family.predict_task(weights, found.y0, found.dt, trainer.solver)
    clock["train"] += perf_counter() - began
    if not solution.ok.all():
        pair = int(np.argmin(solution.ok))
        raise RunFailed(
            f"epoch {epoch}, training pair {pair} (trajectory {int(found.trajectory[pair])}): {solution.reason(pair)}"
        )
    return mean_squared_error(solution.y1, found.y1)


def validate(
    trainer: Trainer, epoch: int, weights: dict[str, Matrix], clock: dict[str, float]
) -> Generator[Any, Solution, tuple[float, float | None]]:
    """Return the errors of the model ``weights`` on the validation data: MSE of the pairs, and of rows where asked."""
    began = perf_counter()
    found = trainer.validation
    solution = yield trainer.family.predict_task(weights, found.y0, found.dt, trainer.solver)
    clock["validation"] += perf_counter() - began
    if not solution.ok.all():
        pair = int(np.argmin(solution.ok))
        raise RunFailed(f"epoch {epoch}, validation {found.place(pair)}: {solution.reason(pair)}")
    mse, rows = found.errors(solution.y1)
    if not np.isfinite([mse, 0.0 if rows is None else rows]).all():
        raise RunFailed(f"epoch {epoch}: the validation error is not finite (lower training.lr)")
    return mse, rows
