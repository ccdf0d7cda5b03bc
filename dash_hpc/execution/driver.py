"""Hands the runs of a plan to any executor, and deals with those that kill their worker."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from pathlib import Path
from typing import Any

from dash_hpc.errors import Interrupted, StoreError, WorkerDied
from dash_hpc.execution.journal import Journal
from dash_hpc.execution.poison import MAX_TRIES, count_death, deaths_path, read_deaths
from dash_hpc.execution.provenance import now, provenance
from dash_hpc.execution.signals import StopFlag
from dash_hpc.execution.worker import run_noted
from dash_hpc.store import RunWriter, planned_spec, read_run, run_path

__all__ = ["MAX_TRIES", "drive"]

_TICK_SECONDS = 0.5
_HELD_SECONDS = 1.0


def drive(
    folder: Path,
    run_ids: Sequence[str],
    executor: Executor,
    *,
    window: int,
    journal: Journal,
    tick: Callable[[Collection[str]], None] = lambda active: None,
    task: Callable[[str, str], Any] = run_noted,
    stop: StopFlag | None = None,
    on_stop: Callable[[str], None] = lambda reason: None,
) -> None:
    """Execute the runs in the given order until all are recorded as done or failed, or until ``stop`` is set.

    Runs that have killed their worker too often (see :mod:`dash_hpc.execution.poison`) are not tried again. A run at
    which another process works is tried again until that process is through with it or dead.

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
        Returns the status of the run ("done", "failed", "stopped", "held"), or a dict with ``status`` and ``notes``.
    stop : StopFlag, optional
        Once it is set, no run is handed out any more, ``on_stop(reason)`` is called, which shall make the calls under
        way end soon, and the function returns when they have. Set from the start, it lets one window of runs begin all
        the same: each advances by an epoch, so that a study whose every start is signalled comes to its end.

    Raises
    ------
    StoreError
        When a record cannot be written (disk full, folder gone). Runs under way are left to the caller to stop.
    """
    waiting = deque(run_id for run_id in run_ids if not _was_set_aside(folder, run_id, journal))
    active: dict[Future[Any], str] = {}
    not_before: dict[str, float] = {}
    told: set[tuple[str, str]] = set()
    begun = stopping = False
    while waiting or active:
        if stop is None or not stop.is_set() or not begun:
            for _ in range(len(waiting)):
                if len(active) >= window:
                    break
                run_id = waiting.popleft()
                if not_before.get(run_id, 0.0) > time.monotonic():
                    waiting.append(run_id)
                else:
                    active[executor.submit(task, str(folder), run_id)] = run_id
            begun = True
        if stop is not None and stop.is_set():
            waiting.clear()
            if not stopping:
                stopping = True
                journal.write(f"{stop.reason}: no new runs; those under way make a checkpoint after their epoch")
                on_stop(stop.reason)
        if active:
            ended, _ = wait(active, timeout=_TICK_SECONDS, return_when=FIRST_COMPLETED)
        else:
            ended = set()
            time.sleep(_TICK_SECONDS if waiting else 0.0)
        for future in ended:
            run_id = active.pop(future)
            try:
                value = future.result()
            except (CancelledError, Interrupted):
                waiting.append(run_id)
                continue
            except WorkerDied as error:
                if stopping:
                    continue
                deaths = count_death(folder, run_id, str(error))
                where = f" at {deaths.place}" if deaths.place else ""
                journal.write(f"run {run_id}: {error}{where} (try {deaths.tries} of {MAX_TRIES})")
                if deaths.too_many:
                    again = f"to try it again, remove {deaths_path(folder, run_id)}"
                    reason = f"{error}{where}; so it went {deaths.times} times and the run was set aside; {again}"
                    _set_aside(folder, run_id, reason)
                else:
                    waiting.append(run_id)
                continue
            status, notes = (value["status"], value["notes"]) if isinstance(value, dict) else (value, [])
            for note in notes:
                if (run_id, note) not in told:
                    told.add((run_id, note))
                    journal.write(f"run {run_id}: {note}")
            if status == "held":
                not_before[run_id] = time.monotonic() + _HELD_SECONDS
                waiting.append(run_id)
            elif status == "stopped":
                waiting.append(run_id)
            else:
                journal.write(_outcome(folder, run_id, status), echo=status != "done")
        tick(tuple(active.values()))


def _was_set_aside(folder: Path, run_id: str, journal: Journal) -> bool:
    deaths = read_deaths(folder, run_id)
    if deaths.too_many:
        journal.write(
            f"run {run_id}: stays set aside, its worker died {deaths.times} times ({deaths.reason}); "
            f"to try it again, remove {deaths_path(folder, run_id)}"
        )
    return deaths.too_many


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
