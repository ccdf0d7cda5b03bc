"""Pruning strategies: one class each, found by name."""

from __future__ import annotations

from dash_hpc.pruning.base import Context, Step, Strategy, closed
from dash_hpc.pruning.bioprune import BioPrune, BioPruneOptions
from dash_hpc.pruning.dash import Dash, DashOptions
from dash_hpc.pruning.events import EVENT_COLUMNS, EVENT_TIMES, play
from dash_hpc.pruning.imp import Imp, ImpOptions
from dash_hpc.pruning.none import NoneOptions, Unpruned
from dash_hpc.pruning.registry import STRATEGIES, create
from dash_hpc.pruning.schedule import LatticeSchedule, n_to_prune
from dash_hpc.pruning.structured import Structured, StructuredOptions

__all__ = [
    "EVENT_COLUMNS",
    "EVENT_TIMES",
    "STRATEGIES",
    "BioPrune",
    "BioPruneOptions",
    "Context",
    "Dash",
    "DashOptions",
    "Imp",
    "ImpOptions",
    "LatticeSchedule",
    "NoneOptions",
    "Step",
    "Strategy",
    "Structured",
    "StructuredOptions",
    "Unpruned",
    "closed",
    "create",
    "n_to_prune",
    "play",
]
