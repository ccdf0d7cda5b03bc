"""Training: epochs, pruning events, validation, learning rates, the kept model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dash_hpc.training.batches import epoch_batches
from dash_hpc.training.checkpoint import Checkpoint
from dash_hpc.training.early_stop import BestKept
from dash_hpc.training.fit import EVENT_COLUMNS, HISTORY_COLUMNS, Fit, Kept
from dash_hpc.training.pack import Pack
from dash_hpc.training.plateau import Plateau
from dash_hpc.training.trainer import Trainer

if TYPE_CHECKING:
    from dash_hpc.training.prior_loss import PriorLoss as PriorLoss

__all__ = [
    "EVENT_COLUMNS",
    "HISTORY_COLUMNS",
    "BestKept",
    "Checkpoint",
    "Fit",
    "Kept",
    "Pack",
    "Plateau",
    "PriorLoss",
    "Trainer",
    "epoch_batches",
]


def __getattr__(name: str) -> Any:
    if name == "PriorLoss":  # needs torch: loaded on first use
        from dash_hpc.training.prior_loss import PriorLoss

        return PriorLoss
    raise AttributeError(f"module 'dash_hpc.training' has no attribute {name!r}")
