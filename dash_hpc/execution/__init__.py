"""Execution of studies: the driver, what it plans and tells, and a room for each kind of executor and for the machine.

Names load on first use: whoever only wants to receive signals must not wait for the store.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dash_hpc.execution.claims.lease import Lease
    from dash_hpc.execution.driver import drive
    from dash_hpc.execution.local.executor import LocalExecutor
    from dash_hpc.execution.machine.signals import StopFlag, process_flag
    from dash_hpc.execution.mpi.executor import MPIExecutor
    from dash_hpc.execution.mpi.session import mpi_session
    from dash_hpc.execution.progress import Progress, Snapshot, line, snapshot, table
    from dash_hpc.execution.slurm.executor import SlurmExecutor
    from dash_hpc.execution.slurm.options import JobOptions
    from dash_hpc.execution.study_run import run_study
    from dash_hpc.execution.threads import available_cores
    from dash_hpc.execution.work.one_run import run_one

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
    "claims.lease": ("Lease",),
    "driver": ("drive",),
    "local.executor": ("LocalExecutor",),
    "machine.signals": ("StopFlag", "process_flag"),
    "threads": ("available_cores",),
    "mpi.executor": ("MPIExecutor",),
    "mpi.session": ("mpi_session",),
    "progress": ("Progress", "Snapshot", "line", "snapshot", "table"),
    "slurm.executor": ("SlurmExecutor",),
    "slurm.options": ("JobOptions",),
    "study_run": ("run_study",),
    "work.one_run": ("run_one",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
