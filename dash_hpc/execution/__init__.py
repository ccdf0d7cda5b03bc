"""Execution of studies: worker processes, the driver that feeds them, checkpoints, leases, progress, provenance.

Names load on first use: whoever only wants to receive signals must not wait for the store.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dash_hpc.execution.driver import drive
    from dash_hpc.execution.lease import Lease
    from dash_hpc.execution.local import LocalExecutor
    from dash_hpc.execution.mpi import mpi_session
    from dash_hpc.execution.mpi_executor import MPIExecutor
    from dash_hpc.execution.progress import Progress, Snapshot, line, snapshot, table
    from dash_hpc.execution.signals import StopFlag, process_flag
    from dash_hpc.execution.slurm_executor import SlurmExecutor
    from dash_hpc.execution.slurm_options import JobOptions
    from dash_hpc.execution.study_run import run_study
    from dash_hpc.execution.threads import available_cores
    from dash_hpc.execution.worker import run_one

__all__ = [
    "JobOptions",
    "Lease",
    "LocalExecutor",
    "MPIExecutor",
    "Progress",
    "SlurmExecutor",
    "Snapshot",
    "StopFlag",
    "available_cores",
    "drive",
    "line",
    "mpi_session",
    "process_flag",
    "run_one",
    "run_study",
    "snapshot",
    "table",
]

_HOMES = {
    "driver": ("drive",),
    "lease": ("Lease",),
    "local": ("LocalExecutor",),
    "mpi": ("mpi_session",),
    "mpi_executor": ("MPIExecutor",),
    "progress": ("Progress", "Snapshot", "line", "snapshot", "table"),
    "signals": ("StopFlag", "process_flag"),
    "slurm_executor": ("SlurmExecutor",),
    "slurm_options": ("JobOptions",),
    "study_run": ("run_study",),
    "threads": ("available_cores",),
    "worker": ("run_one",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
