"""Every error that dash-hpc raises on purpose.

Each message is one line: what is wrong, where (file, line, key, gene) and what to do. The command line prints that
line and leaves with the class's ``exit_code``; ``--debug`` shows the traceback as well.
"""

from __future__ import annotations

__all__ = [
    "CheckpointUnfit",
    "DashHpcError",
    "DataError",
    "GpuFault",
    "GpuMemoryError",
    "GpuUnavailable",
    "Interrupted",
    "NativeError",
    "OtherVersion",
    "PriorError",
    "RunFailed",
    "SolveError",
    "StoreError",
    "StudyError",
    "UsageError",
    "WorkerDied",
]


class DashHpcError(Exception):
    """Base of all errors of this package."""

    exit_code = 2


class UsageError(DashHpcError):
    """A call or a command that cannot mean anything: wrong shape, wrong option, missing folder."""


class StudyError(DashHpcError):
    """The study file is wrong: unknown key, value out of range, a sweep that is too large."""


class DataError(DashHpcError):
    """Expression data cannot be used: malformed file, repeated times, a gene without values."""


class PriorError(DataError):
    """Prior knowledge (motif map, interactions, reference network) does not fit the data."""


class StoreError(DashHpcError):
    """A store or run file is missing, foreign or damaged."""


class OtherVersion(StoreError):
    """A whole file of a store that another version of dash-hpc wrote in a format that this one does not read."""


class CheckpointUnfit(StoreError):
    """A checkpoint is whole but belongs to another model or lacks something; the run goes on from another one."""


class SolveError(DashHpcError):
    """The ODE could not be solved to the tolerance that was asked for."""


class RunFailed(DashHpcError):
    """One run cannot go on (diverged, unusable scores). It is recorded as failed; other runs go on."""

    exit_code = 1


class NativeError(DashHpcError):
    """The native module is missing, does not fit this processor, or refused its arguments."""


class GpuUnavailable(NativeError):
    """No GPU can be used: no build for it, no driver or one too old, no such device, or one of another architecture."""


class GpuMemoryError(NativeError):
    """The GPU has too little free memory for what was asked."""


class GpuFault(NativeError):
    """The GPU failed in the middle of a computation; the process must be started again."""


class Interrupted(DashHpcError):
    """The study was stopped before its end; the same command goes on where it stood."""

    exit_code = 3


class WorkerDied(DashHpcError):
    """A worker process ended in the middle of a run. The run is tried again, at most three times in all."""

    exit_code = 1
