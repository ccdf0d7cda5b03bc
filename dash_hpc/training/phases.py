"""The phases of a run and their epochs: event, training steps, validation, rates, the kept model, checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Generator
from time import perf_counter
from typing import TYPE_CHECKING, Any

from dash_hpc.ops.events import ScoreTask, SelectTask
from dash_hpc.ops.gradients import GradientTask
from dash_hpc.ops.solver import SolveTask
from dash_hpc.ops.train import EpochTask
from dash_hpc.training.build import BuildTask
from dash_hpc.training.checkpoint import Checkpoint, CheckpointTimer, capture, restore
from dash_hpc.training.fit import TIMERS, Fit, Kept
from dash_hpc.training.steps import build, event, train, validate

if TYPE_CHECKING:
    from dash_hpc.training.trainer import Trainer

__all__ = ["Steps", "Task", "steps"]

#: A step's work: scores and selection of a pruning event, the epoch, its validation.
Task = ScoreTask | SelectTask | EpochTask | GradientTask | BuildTask | SolveTask
#: A run that is under way: gives out the work of its next step, takes the result, and returns the Fit at the end.
Steps = Generator[Task, Any, Fit]


def steps(
    trainer: Trainer,
    *,
    resume: Checkpoint | None,
    checkpoint: Callable[[Checkpoint], None] | None,
    checkpoint_seconds: float,
    stop: Callable[[], bool] | None,
    side_by_side: int,
) -> Steps:
    """Train step by step; what the parameters mean: :meth:`dash_hpc.training.Trainer.steps`."""
    fit = Fit({column: [] for column in trainer.history_columns})
    best, plateau = trainer.race(0), trainer.fresh_plateau(after_event=False)
    if resume is not None:
        fit, best, plateau = restore(trainer, resume)
    checkpoints = CheckpointTimer(checkpoint_seconds, perf_counter, side_by_side)
    saved = fit.epoch

    def save() -> None:
        nonlocal saved
        if checkpoint is not None and fit.epoch > saved:
            start = perf_counter()
            checkpoint(capture(trainer, fit, best, plateau))
            checkpoints.made(start)
            saved = fit.epoch

    while not fit.stop_reason:
        if stop is not None and stop():
            save()
            return fit
        if fit.phase and fit.epoch == fit.phase_began:  # of a run that goes on here as of one that comes this far
            trainer.enter(fit)
            best, plateau = trainer.race(fit.epoch), trainer.fresh_plateau(after_event=False)
        phase, epoch = trainer.phases[fit.phase], fit.epoch + 1
        clock = dict.fromkeys(TIMERS, 0.0)
        began = perf_counter()
        fraction = trainer.fraction(fit)
        if fraction is not None:
            if not any(record["epoch"] > fit.phase_began for record in fit.events):
                best.forget()
            fit.events.extend((yield from event(trainer, epoch, fraction, clock)))
            if trainer.options["reset_lr_at_events"]:
                plateau = trainer.fresh_plateau(after_event=True)
        if phase.trains:
            train_mse = yield from train(trainer, epoch, plateau.lr, clock)
        else:
            train_mse = yield from build(trainer, epoch, clock)
        trainer.strategy.after_epoch(trainer.state, epoch)
        weights, masks = trainer.strategy.final(trainer.state.weights, trainer.state.masks)
        validation_mse, rows = yield from validate(trainer, epoch, weights, clock)
        error = rows if rows is not None and trainer.options.get("criterion") == "rows" else validation_mse
        if best.step(epoch, error) or "last" in (phase.keep, trainer.options.get("keep")):
            copies = {name: mask.copy() for name, mask in masks.items()}
            outside = trainer.family.rescaled(weights, 1.0 / trainer.time_unit.size)
            fit.kept = Kept(outside, copies, epoch, validation_mse)
        lr = trainer.family.base_rate(plateau.lr)
        plateau.step(error)

        row: dict[str, Any] = {
            "epoch": epoch,
            "train_mse": train_mse,
            "validation_mse": validation_mse,
            "lr": lr,
            "sparsity": trainer.family.zero_share(weights),
            "seconds": perf_counter() - began,
            **{f"seconds_{timer}": clock[timer] for timer in TIMERS},
            "phase": fit.phase,
            "validation_rows": rows,
        }
        for column, entries in fit.history.items():
            entries.append(row[column])
        fit.seconds["total"] += row["seconds"]
        for timer in TIMERS:
            fit.seconds[timer] += clock[timer]
        fit.epoch = epoch
        ended = "early_stop" if best.stop(epoch) else "epochs" if epoch == fit.phase_began + phase.epochs else ""
        if ended and fit.phase + 1 < len(trainer.phases):
            fit.phase, fit.phase_began = fit.phase + 1, epoch
        else:
            fit.stop_reason = ended
        if trainer.progress is not None:
            trainer.progress(fit)
        if not fit.stop_reason and checkpoints.due(at_event=fraction is not None or bool(ended)):
            save()
    return fit
