"""Training: epochs, pruning events, validation, learning rates, the kept model."""

from __future__ import annotations

from dash_hpc.training.batches import epoch_batches
from dash_hpc.training.checkpoint import Checkpoint
from dash_hpc.training.early_stop import BestKept
from dash_hpc.training.fit import HISTORY_COLUMNS, Fit, Kept
from dash_hpc.training.pack import Pack
from dash_hpc.training.plateau import Plateau
from dash_hpc.training.trainer import Trainer
from dash_hpc.training.work import run_steps

__all__ = [
    "HISTORY_COLUMNS",
    "BestKept",
    "Checkpoint",
    "Fit",
    "Kept",
    "Pack",
    "Plateau",
    "Trainer",
    "epoch_batches",
    "run_steps",
]
