"""Operators: solve, train_epoch, dash_scores, select. Each has a plain-PyTorch or NumPy twin that defines it.

`solve` and `batch_loss` work on tensors and load torch on first use: the native path of training needs none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dash_hpc.ops.adam import AdamTensor, adam_step
from dash_hpc.ops.events import ScorePrior, ScoreTask, SelectTask, score_many, select_many
from dash_hpc.ops.gradients import BatchGradients, GradientTask, gradients, gradients_many
from dash_hpc.ops.least_squares import prior_terms
from dash_hpc.ops.native import native_info
from dash_hpc.ops.phoenix import PRUNABLE, TENSORS
from dash_hpc.ops.prior_loss import PriorLoss
from dash_hpc.ops.scores import dash_scores
from dash_hpc.ops.select import select
from dash_hpc.ops.solver import SolverOptions, SolveTask, solve_arrays, solve_many
from dash_hpc.ops.state import EpochResult, Solution, TrainState
from dash_hpc.ops.train import EpochTask, train_epoch, train_many

__all__ = [
    "PRUNABLE",
    "TENSORS",
    "AdamTensor",
    "BatchGradients",
    "EpochResult",
    "EpochTask",
    "GradientTask",
    "PriorLoss",
    "ScorePrior",
    "ScoreTask",
    "SelectTask",
    "Solution",
    "SolveTask",
    "SolverOptions",
    "TrainState",
    "adam_step",
    "batch_loss",
    "dash_scores",
    "gradients",
    "gradients_many",
    "native_info",
    "prior_terms",
    "score_many",
    "select",
    "select_many",
    "solve",
    "solve_arrays",
    "solve_many",
    "train_epoch",
    "train_many",
]

if TYPE_CHECKING:
    from dash_hpc.ops.autograd import batch_loss as batch_loss
    from dash_hpc.ops.autograd import solve as solve


def __getattr__(name: str) -> Any:
    if name in ("batch_loss", "solve"):
        from dash_hpc.ops import autograd

        return getattr(autograd, name)
    raise AttributeError(f"module 'dash_hpc.ops' has no attribute {name!r}")
