"""The epochs of a run: pruning event, training steps, validation, learning rate, the kept model, checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Generator
from time import perf_counter
from typing import TYPE_CHECKING, Any

from dash_hpc.ops.events import ScoreJob, SelectJob
from dash_hpc.ops.solver import SolveJob
from dash_hpc.ops.train import EpochJob
from dash_hpc.training.checkpoint import Checkpoint, CheckpointTimer, capture, restore
from dash_hpc.training.early_stop import BestKept
from dash_hpc.training.fit import TIMERS, Fit, Kept
from dash_hpc.training.steps import event, train, validate

if TYPE_CHECKING:
    from dash_hpc.training.trainer import Trainer

__all__ = ["Course", "Job", "course"]

#: A step's work: scores and selection of a pruning event, the epoch, its validation.
Job = ScoreJob | SelectJob | EpochJob | SolveJob
#: A run that is under way: gives out the work of its next step, takes the result, and returns the Fit at the end.
Course = Generator[Job, Any, Fit]


def course(
    trainer: Trainer,
    *,
    resume: Checkpoint | None,
    checkpoint: Callable[[Checkpoint], None] | None,
    checkpoint_seconds: float,
    stop: Callable[[], bool] | None,
    side_by_side: int,
) -> Course:
    """Train step by step; what the parameters mean: :meth:`dash_hpc.training.Trainer.course`."""
    options = trainer.training
    last = int(options["epochs"])
    fit = Fit()
    best = BestKept(int(options["early_stop"]))
    plateau = trainer.fresh_plateau(after_event=False)
    if resume is not None:
        fit = restore(trainer, resume, best, plateau)
    checkpoints = CheckpointTimer(checkpoint_seconds, perf_counter, side_by_side)
    saved = fit.epoch

    def save() -> None:
        nonlocal saved
        if checkpoint is not None and fit.epoch > saved:
            start = perf_counter()
            checkpoint(capture(trainer, fit, best, plateau))
            checkpoints.made(start)
            saved = fit.epoch

    for epoch in range(fit.epoch + 1, last + 1):
        if stop is not None and stop():
            save()
            return fit
        clock = dict.fromkeys(TIMERS, 0.0)
        began = perf_counter()
        fraction = trainer.strategy.fraction(epoch, last)
        if fraction is not None:
            if not fit.events:
                best.forget()
            fit.events.extend((yield from event(trainer, epoch, fraction, clock)))
            if options["reset_lr_at_events"]:
                plateau = trainer.fresh_plateau(after_event=True)
        train_mse = yield from train(trainer, epoch, plateau.lr, clock)
        trainer.strategy.after_epoch(trainer.state, epoch)
        weights, masks = trainer.strategy.final(trainer.state.weights, trainer.state.masks)
        validation_mse = yield from validate(trainer, epoch, weights, clock)
        if best.step(epoch, validation_mse):
            copies = {name: mask.copy() for name, mask in masks.items()}
            outside = trainer.family.rescaled(weights, 1.0 / trainer.time_unit.size)
            fit.kept = Kept(outside, copies, epoch, validation_mse)
        lr = trainer.family.base_rate(plateau.lr)
        plateau.step(validation_mse)

        row = {
            "epoch": epoch,
            "train_mse": train_mse,
            "validation_mse": validation_mse,
            "lr": lr,
            "sparsity": trainer.family.zero_share(weights),
            "seconds": perf_counter() - began,
            **{f"seconds_{timer}": clock[timer] for timer in TIMERS},
        }
        for column, value in row.items():
            fit.history[column].append(value)
        fit.seconds["total"] += row["seconds"]
        for timer in TIMERS:
            fit.seconds[timer] += clock[timer]
        fit.epoch = epoch
        if best.stop(epoch):
            fit.stop_reason = "early_stop"
        elif epoch == last:
            fit.stop_reason = "epochs"
        if trainer.progress is not None:
            trainer.progress(fit)
        if fit.stop_reason:
            break
        if checkpoints.due(at_event=fraction is not None):
            save()
    return fit
