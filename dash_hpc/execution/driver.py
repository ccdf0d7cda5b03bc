"""Hands the runs of a plan to any executor, and deals with those that kill their worker."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from pathlib import Path
from typing import Any

from dash_hpc.errors import Interrupted, StoreError, WorkerDied
from dash_hpc.execution.claims.deaths import MAX_TRIES, count_death, deaths_path, read_deaths
from dash_hpc.execution.machine.journal import Journal
from dash_hpc.execution.machine.provenance import now, provenance
from dash_hpc.execution.machine.signals import StopFlag
from dash_hpc.execution.packing import Packing
from dash_hpc.execution.work.many_runs import run_pack
from dash_hpc.execution.work.one_run import run_noted
from dash_hpc.store import RunWriter, find_record, planned_spec, read_run, run_path

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
    call: Callable[[str, str], Any] = run_noted,
    packing: Packing = Packing(),  # noqa: B008 - frozen
    pack_call: Callable[..., Any] = run_pack,
    stop: StopFlag | None = None,
    on_stop: Callable[[str], None] = lambda reason: None,
) -> None:
    """Execute the runs in the given order until all are recorded as done or failed, or until ``stop`` is set.

    Runs that have killed their worker too often (see :mod:`dash_hpc.execution.claims.deaths`) are not tried again. A
    run at which another process works is tried again until that process is through with it or dead. When a worker dies
    at a pack, the runs that have not ended are tried again in two halves, so that the one at fault is soon alone.

    Parameters
    ----------
    folder : Path
        The store, with its plan.
    run_ids : sequence of str
        In the order in which they shall start.
    executor : concurrent.futures.Executor
        Calls ``call(folder, run_id)`` somewhere.
    window : int
        At most so many runs, or packs, are handed out and not back: enough to keep all workers busy.
    journal : Journal
    tick : callable
        Called about twice a second with the ids that are handed out.
    call : callable
        Returns the status of the run ("done", "failed", "stopped", "held"), or a dict with ``status`` and ``notes``.
    packing : Packing, optional
        Runs that a worker gets at a time, and where it works on them; default one, on the CPU.
    pack_call : callable
        Called as :func:`dash_hpc.execution.work.many_runs.run_pack` unless runs go one by one to the CPU.
    stop : StopFlag, optional
        Once it is set, no run is handed out any more, ``on_stop(reason)`` is called, which shall make the calls under
        way end soon, and the function returns when they have. Set from the start, it lets one window of runs begin all
        the same: each advances by an epoch, so that a study whose every start is signalled comes to its end.

    Raises
    ------
    StoreError
        When a record cannot be written (disk full, folder gone). Runs under way are left to the caller to stop.
    """
    waiting = deque(_units(folder, run_ids, journal, packing, window))
    active: dict[Future[Any], tuple[str, ...]] = {}
    not_before: dict[str, float] = {}
    told: set[tuple[str, str]] = set()

    def tell(run_id: str, note: str) -> None:
        if (run_id, note) not in told:
            told.add((run_id, note))
            journal.write(f"run {run_id}: {note}" if run_id else note)

    begun = stopping = False
    while waiting or active:
        if stop is None or not stop.is_set() or not begun:
            for _ in range(len(waiting)):
                if len(active) >= window:
                    break
                unit = waiting.popleft()
                if not_before.get(unit[0], 0.0) > time.monotonic():
                    waiting.append(unit)
                elif packing.plain:
                    active[executor.submit(call, str(folder), *unit)] = unit
                else:
                    arguments = (str(folder), list(unit), packing.device, packing.threads)
                    active[executor.submit(pack_call, *arguments)] = unit
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
            if stop is not None:
                stop.begun()
            unit = active.pop(future)
            try:
                value = future.result()
            except (CancelledError, Interrupted):
                waiting.append(unit)
                continue
            except WorkerDied as error:
                if not stopping:
                    waiting += _after_death(folder, unit, error, journal)
                continue
            answers, notes = _answers(unit, value)
            for note in notes:
                tell("", note)
            stopped = []
            for run_id, (status, own_notes) in answers.items():
                for note in own_notes:
                    tell(run_id, note)
                if status == "held":
                    not_before[run_id] = time.monotonic() + _HELD_SECONDS
                    waiting.append((run_id,))
                elif status == "stopped":
                    stopped.append(run_id)
                else:
                    journal.write(_outcome(folder, run_id, status), echo=status != "done")
            if stopped:
                waiting.append(tuple(stopped))
        tick(tuple(run_id for unit in active.values() for run_id in unit))


def _units(
    folder: Path, run_ids: Sequence[str], journal: Journal, packing: Packing, window: int
) -> list[tuple[str, ...]]:
    """What is handed out at a time: packs; runs whose worker has died before are alone, at the end."""
    good: list[str] = []
    suspect: list[str] = []
    for run_id in run_ids:
        deaths = read_deaths(folder, run_id, journal.write)
        if deaths.too_many:
            journal.write(
                f"run {run_id}: stays set aside, its worker died {deaths.times} times ({deaths.reason}); "
                f"to try it again, remove {deaths_path(folder, run_id)}"
            )
        else:
            (good if packing.size == 1 or deaths.tries == 0 else suspect).append(run_id)
    return packing.packs(good, window) + [(run_id,) for run_id in suspect]


def _answers(unit: tuple[str, ...], value: Any) -> tuple[dict[str, tuple[str, list[str]]], list[str]]:
    """Status and notes by run, and notes about the whole call."""
    if isinstance(value, dict) and "runs" in value:
        return {run_id: (own["status"], own["notes"]) for run_id, own in value["runs"].items()}, value["notes"]
    if isinstance(value, dict):
        return {unit[0]: (value["status"], value["notes"])}, []
    return {unit[0]: (value, [])}, []


def _after_death(folder: Path, unit: tuple[str, ...], error: WorkerDied, journal: Journal) -> list[tuple[str, ...]]:
    """What is to be tried again after a worker died at ``unit``."""
    if len(unit) > 1:
        left = []
        for run_id in unit:
            record = find_record(folder, run_id)
            if record is not None and record.status == "done":
                journal.write(_outcome(folder, run_id, "done"), echo=False)
            else:
                left.append(run_id)
        halves = [half for half in (left[: (len(left) + 1) // 2], left[(len(left) + 1) // 2 :]) if half]
        journal.write(f"{error}, at {len(unit)} runs side by side; the {len(left)} open ones are tried again in halves")
        return [tuple(half) for half in halves]
    [run_id] = unit
    deaths = count_death(folder, run_id, str(error), journal.write)
    where = f" at {deaths.place}" if deaths.place else ""
    journal.write(f"run {run_id}: {error}{where} (try {deaths.tries} of {MAX_TRIES})")
    if not deaths.too_many:
        return [unit]
    again = f"to try it again, remove {deaths_path(folder, run_id)}"
    _set_aside(folder, run_id, f"{error}{where}; so it went {deaths.times} times and the run was set aside; {again}")
    return []


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
