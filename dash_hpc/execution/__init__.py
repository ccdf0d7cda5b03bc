"""Execution of studies: worker processes, the driver that feeds them, progress, provenance."""

from __future__ import annotations

from dash_hpc.execution.driver import drive
from dash_hpc.execution.local import LocalExecutor, available_cores
from dash_hpc.execution.progress import Progress, Snapshot, line, snapshot, table
from dash_hpc.execution.provenance import provenance
from dash_hpc.execution.study_run import run_study
from dash_hpc.execution.worker import run_one

__all__ = [
    "LocalExecutor",
    "Progress",
    "Snapshot",
    "available_cores",
    "drive",
    "line",
    "provenance",
    "run_one",
    "run_study",
    "snapshot",
    "table",
]
