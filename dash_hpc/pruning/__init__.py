"""Pruning strategies: one class each, found by name."""

from __future__ import annotations

from dash_hpc.pruning.base import Context, Strategy
from dash_hpc.pruning.bioprune import BioPrune
from dash_hpc.pruning.dash import Dash
from dash_hpc.pruning.imp import Imp
from dash_hpc.pruning.none import Unpruned
from dash_hpc.pruning.registry import STRATEGIES, create
from dash_hpc.pruning.schedule import LatticeSchedule, n_to_prune
from dash_hpc.pruning.structured import Structured

__all__ = [
    "STRATEGIES",
    "BioPrune",
    "Context",
    "Dash",
    "Imp",
    "LatticeSchedule",
    "Strategy",
    "Structured",
    "Unpruned",
    "create",
    "n_to_prune",
]
