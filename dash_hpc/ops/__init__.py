"""Operators: solve, train_epoch, dash_scores, select. Each has a plain-PyTorch or NumPy twin that defines it."""

from __future__ import annotations

from dash_hpc.ops.autograd import batch_loss, solve
from dash_hpc.ops.native import native_info
from dash_hpc.ops.scores import dash_scores, magnitudes, prior_terms
from dash_hpc.ops.select import select
from dash_hpc.ops.solver import SolverOptions, solve_arrays
from dash_hpc.ops.state import PRUNABLE, TENSORS, EpochResult, Solution, TrainState
from dash_hpc.ops.train import train_epoch

__all__ = [
    "PRUNABLE",
    "TENSORS",
    "EpochResult",
    "Solution",
    "SolverOptions",
    "TrainState",
    "batch_loss",
    "dash_scores",
    "magnitudes",
    "native_info",
    "prior_terms",
    "select",
    "solve",
    "solve_arrays",
    "train_epoch",
]
