"""Hands the runs of a plan to any executor, and deals with those that kill their worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from pathlib import Path

from dash_hpc.errors import StoreError, WorkerDied
from dash_hpc.execution.journal import Journal
from dash_hpc.execution.provenance import now, provenance
from dash_hpc.execution.worker import run_one
from dash_hpc.store import RunWriter, planned_spec, read_run, run_path

__all__ = ["MAX_TRIES", "drive"]

MAX_TRIES = 3
_TICK_SECONDS = 0.5


def drive(
    folder: Path,
    run_ids: Sequence[str],
    executor: Executor,
    *,
    window: int,
    journal: Journal,
    tick: Callable[[Collection[str]], None] = lambda active: None,
    task: Callable[[str, str], str] = run_one,
) -> None:
    """Execute the runs in the given order until all are recorded as done or failed.

    Parameters
    ----------
    folder : Path
        The store, with its plan.
    run_ids : sequence of str
        In the order in which they shall start.
    executor : concurrent.futures.Executor
        Calls ``task(folder, run_id)`` somewhere.
    window : int
        At most so many runs are handed out and not back: enough to keep all workers busy.
    journal : Journal
    tick : callable
        Called about twice a second with the ids that are handed out.
    task : callable
        Returns the recorded status of the run.

    Raises
    ------
    StoreError
        When a record cannot be written (disk full, folder gone). Runs under way are left to the caller to stop.
    """
    waiting = deque(run_ids)
    active: dict[Future[str], str] = {}
    deaths: dict[str, int] = {}
    while waiting or active:
        while waiting and len(active) < window:
            run_id = waiting.popleft()
            active[executor.submit(task, str(folder), run_id)] = run_id
        ended, _ = wait(active, timeout=_TICK_SECONDS, return_when=FIRST_COMPLETED)
        for future in ended:
            run_id = active.pop(future)
            try:
                status = future.result()
            except WorkerDied as error:
                deaths[run_id] = deaths.get(run_id, 0) + 1
                journal.write(f"run {run_id}: {error} (try {deaths[run_id]} of {MAX_TRIES})")
                if deaths[run_id] < MAX_TRIES:
                    waiting.append(run_id)
                else:
                    _set_aside(folder, run_id, f"{error}; so it went {MAX_TRIES} times and the run was set aside")
            else:
                journal.write(_outcome(folder, run_id, status), echo=status != "done")
        tick(tuple(active.values()))


def _outcome(folder: Path, run_id: str, status: str) -> str:
    if status == "done":
        return f"run {run_id}: done"
    try:
        reason = read_run(run_path(folder, run_id), tables=False, network=False).reason
    except StoreError as error:
        reason = str(error)
    return f"run {run_id}: {status}: {reason}"


def _set_aside(folder: Path, run_id: str, reason: str) -> None:
    """Record a run as failed in place of the worker that cannot, with the history that it left."""
    writer = RunWriter(folder, run_id, planned_spec(folder, run_id), {**provenance(), "ended": now()})
    try:
        left = read_run(writer.path, network=False)
    except StoreError:
        pass  # It died before its first publication: there is nothing to keep.
    else:
        writer.provenance = {**left.provenance, "ended": now()}
        writer.resume_from(left)
    writer.fail(reason)
