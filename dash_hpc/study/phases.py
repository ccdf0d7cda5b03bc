"""Phases of a run: train, choose, train again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dash_hpc.errors import UsageError

__all__ = ["Phase"]


@dataclass(frozen=True)
class Phase:
    """A stretch of training with a beginning, a schedule and a model of its own.

    Learning rates, plateau rule, early stop and the race for the model that is kept begin anew with each phase. Epochs
    are counted through all phases in histories and streams, from 1 within a phase by its schedule.

    Attributes
    ----------
    epochs : int
        At most this many; an early stop ends the phase, not the run.
    start : {"here", "kept", "initial"}, default "here"
        What it starts from. "here": where the one before ended, with Adam's moments. "kept": the model that was kept so
        far, weights and masks. "initial": the initial weights under the present masks. For the last two Adam starts
        afresh. The first phase starts from the initial model, whatever stands here.
    keep : {"best", "last"}, default "best"
        Which epoch's model is kept: that of the lowest validation error since the phase began (and since its first
        pruning event, where it has one), or the last one. The model that the last phase keeps is the run's.
    schedule : mapping or "run" or None, default "run"
        Keys of ``[schedule]``, the others have their defaults; "run": that of the run, by :meth:`Strategy.fraction`;
        None: no event.
    trains : bool, default True
        False: the phase is one epoch without a step, whose model :meth:`Strategy.build` gives. What it costs counts as
        training, and it is validated and kept like any other.
    training : mapping, optional
        Keys of ``[training]`` that are different in this phase (``lr``, ``tau``, ``early_stop`` …).
    """

    epochs: int
    start: Literal["here", "kept", "initial"] = "here"
    keep: Literal["best", "last"] = "best"
    schedule: Mapping[str, Any] | Literal["run"] | None = "run"
    trains: bool = True
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise UsageError(f"a phase must have 1 epoch or more, got {self.epochs}")
        for name, legal in (("start", ("here", "kept", "initial")), ("keep", ("best", "last"))):
            if getattr(self, name) not in legal:
                raise UsageError(f"a phase's {name} must be one of {', '.join(legal)}, got {getattr(self, name)!r}")
        if not self.trains and self.epochs != 1:
            raise UsageError(f"a phase that does not train is one epoch, got {self.epochs}")
        if "epochs" in self.training:
            raise UsageError("a phase has its number of epochs in epochs, not among its keys of [training]")
