"""What training hands back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dash_hpc.ops.state import Matrix

__all__ = ["HISTORY_COLUMNS", "TIMERS", "Fit", "Kept"]

TIMERS = ("train", "validation", "score", "select")

HISTORY_COLUMNS = (
    "epoch",
    "train_mse",
    "validation_mse",
    "lr",
    "sparsity",
    "seconds",
    *(f"seconds_{timer}" for timer in TIMERS),
)


@dataclass(frozen=True)
class Kept:
    """The model with the lowest validation error: the one that is evaluated.

    Attributes
    ----------
    weights : dict of ndarray or csr_array
        The model's tensors, run dtype; pruned entries are exactly 0. Rates are per unit of the data's time.
    masks : dict of bool ndarray
        Active entries of the prunable tensors at that epoch, in the shape of the tensors' values.
    epoch : int
        From 1.
    validation_mse : float
        Of the pairs, whatever decided.
    """

    weights: dict[str, Matrix]
    masks: dict[str, np.ndarray]
    epoch: int
    validation_mse: float


@dataclass
class Fit:
    """The history and the result of one training run; grows from epoch to epoch.

    Attributes
    ----------
    history : dict of lists
        One entry per epoch and column: epoch (from 1), train_mse (mean over the epoch's observed values, each before
        its optimiser step), validation_mse (after the epoch), lr (of all tensors but v), sparsity (share of zeros among
        W and ReLU(v)·U after the epoch, dead multipliers included), seconds (whole epoch) and its parts
        seconds_train, seconds_validation, seconds_score, seconds_select (wall clock). The seconds differ between
        identical runs; all other columns do not. With ``training.criterion = "rows"`` also validation_rows
        (:class:`dash_hpc.evidence.criterion.RowError`), which then decides.
    events : list of dict
        One per pruning event and tensor: what :func:`dash_hpc.pruning.events.event` returns.
    kept : Kept or None
        None before the first validation.
    epoch : int
        Last complete epoch.
    stop_reason : str
        "epochs" or "early_stop"; "" while training goes on.
    phase, phase_began : int
        The phase that the next epoch belongs to (from 0), and the last epoch before it. With more than one phase the
        history has the column ``phase``.
    seconds : dict
        Totals: total, train, validation, score, select.
    """

    history: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in HISTORY_COLUMNS})
    events: list[dict[str, Any]] = field(default_factory=list)
    kept: Kept | None = None
    epoch: int = 0
    stop_reason: str = ""
    phase: int = 0
    phase_began: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("total", *TIMERS), 0.0))
