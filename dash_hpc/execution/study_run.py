"""From a study to a store: plan, run what is not done yet, index."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dash_hpc.errors import Interrupted, UsageError
from dash_hpc.execution.driver import drive
from dash_hpc.execution.journal import Journal
from dash_hpc.execution.local import LocalExecutor, available_cores
from dash_hpc.execution.planning import planned_runs
from dash_hpc.execution.progress import Mode, Progress, line
from dash_hpc.store import (
    Store,
    is_store,
    make_folder,
    open_store,
    publish_sealed_text,
    run_path,
    set_aside,
    sweep_temporaries,
    write_plan,
)
from dash_hpc.study import Study, load_study

if TYPE_CHECKING:
    from dash_hpc.execution.mpi import MPIExecutor

__all__ = ["part_of", "prepare", "run_study"]


def run_study(
    study_or_path: Study | str | os.PathLike[str],
    *,
    overrides: Sequence[str] = (),
    output: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: Mode = "auto",
    executor: MPIExecutor | None = None,
    part: tuple[int, int] | None = None,
) -> Store:
    """Execute all runs of a study and return its store.

    Runs that the output folder already holds as done are not repeated, so the same call goes on after an
    interruption. A run that fails is recorded with its reason and the rest goes on; see ``Store.counts()``. Results
    do not depend on the number of workers.

    Parameters
    ----------
    study_or_path : Study or path
        Or the path of a study file.
    overrides : sequence of str
        ``"key=value"`` on top of the file, for example ``"training.epochs=20"``; only with a path.
    output : path, optional
        Folder for everything that the study makes; the study's own ``output`` by default. It must be new, empty, or
        the output of a study.
    workers : int, optional
        Number of processes, one thread each; all cores that this process may use by default.
    progress : str
        "auto", "live" (table), "plain" (lines), or "none"; on standard error.
    executor : MPIExecutor, optional
        Where the runs are executed; ``workers`` processes of this machine by default. It is closed at the end.
    part : (int, int), optional
        ``(k, n)``: of the plan only the runs k, k + n, k + 2n, … (from 1). Others do the other parts.

    Returns
    -------
    Store

    Raises
    ------
    StudyError, DataError
        When the study or its data cannot be used: before any run starts.
    UsageError
        When the output folder holds other files, or ``workers`` is not 1 or more.
    StoreError
        When the folder cannot be written.
    Interrupted
        On Ctrl-C: everything acknowledged is in the store, and the same call goes on.
    """
    if isinstance(study_or_path, Study):
        if overrides:
            raise UsageError("overrides belong to a study file; change the Study itself instead")
        study = study_or_path
    else:
        study = load_study(study_or_path, overrides)
    if workers is None:
        workers = available_cores() if executor is None else executor.workers
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise UsageError(f"workers must be 1 or more, got {workers!r}")
    if part is not None and not 1 <= part[0] <= part[1]:
        raise UsageError(f"part {part[0]} of {part[1]}: parts count from 1")
    folder = Path(output) if output is not None else study.output
    prepare(study, folder)

    store = open_store(folder)
    journal = Journal(folder / "log" / "driver.log")
    notices = _set_damaged_aside(store)
    todo = [run_id for run_id in part_of(store.planned, part) if store.status(run_id) != "done"]
    if todo:
        _execute(store, todo, min(workers, len(todo)), progress, journal, notices, executor)
    else:
        for notice in notices:
            journal.write(notice)
    store.refresh().write_index()
    return store


def prepare(study: Study, folder: Path) -> tuple[str, ...]:
    """Make ``folder`` the store of the study: plan, resolved study, subfolders. Returns the run ids, in order.

    Raises as :func:`run_study` does.
    """
    _refuse_foreign(folder)
    runs = planned_runs(study)
    make_folder(folder)
    # The plan comes first: it is what makes the folder a store.
    pairs = [(run.id, run.spec) for run in runs]
    write_plan(folder, pairs, study=study.name, base=study.base, command=sys.argv)
    publish_sealed_text(folder / "study.toml", study.to_toml())
    make_folder(folder / "runs")
    make_folder(folder / "log")
    for place in (folder, *(folder / "runs").iterdir()):
        sweep_temporaries(place)
    return tuple(run.id for run in runs)


def part_of(run_ids: Sequence[str], part: tuple[int, int] | None) -> tuple[str, ...]:
    """Return the runs of part (k, n): every n-th, so that long and short ones are spread evenly."""
    return tuple(run_ids) if part is None else tuple(run_ids[part[0] - 1 :: part[1]])


def _execute(
    store: Store,
    todo: Sequence[str],
    workers: int,
    mode: Mode,
    journal: Journal,
    notices: Sequence[str],
    given: MPIExecutor | None,
) -> None:
    shown = Progress(store, mode)
    journal.echo = shown.echo
    skipped = len(store.planned) - len(todo)
    journal.write(
        f"{store.name}: {len(store.planned)} runs into {store.folder}, {workers} worker{'s' * (workers > 1)}"
        + (f", {skipped} done before" if skipped else "")
    )
    for notice in [*notices, *(given.begin(store.folder / "log") if given is not None else ())]:
        journal.write(notice)

    def tick(active: Collection[str]) -> None:
        text = shown.tick(active)
        if text is not None:
            journal.write(text, echo=shown.mode == "plain")

    executor = given if given is not None else LocalExecutor(workers, store.folder / "log")
    try:
        drive(store.folder, todo, executor, window=workers, journal=journal, tick=tick)
        executor.shutdown()
        journal.write(line(shown.look(())), echo=shown.mode == "plain")
    except KeyboardInterrupt:
        executor.stop()
        store.refresh().write_index()
        counts = store.counts()
        message = f"interrupted with {counts['done']} of {counts['planned']} runs done"
        journal.write(message, echo=False)
        raise Interrupted(f"{message}; the same command goes on from there") from None
    finally:
        executor.stop()
        shown.close()


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: a file of this name is in the way; choose another output folder")
    if not folder.is_dir() or is_store(folder):
        return
    others = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".tmp-"))
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise UsageError(
            f"{folder}: not empty ({others[0]}{more}) and not the output of a study; choose a new output folder"
        )


def _set_damaged_aside(store: Store) -> list[str]:
    """Rename the damaged files of planned runs, so that these are done again; return what to tell the user."""
    notices = list(store.problems)
    damaged = [run_id for run_id in store.planned if store.status(run_id) == "damaged"]
    for run_id in damaged:
        renamed = set_aside(run_path(store.folder, run_id))
        notices.append(f"run {run_id}: its damaged file is now {renamed.name}; the run is done again")
    if damaged:
        store.refresh()
    return notices
