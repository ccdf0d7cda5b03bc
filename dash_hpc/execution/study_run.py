"""From a study to a store: plan, run what is not done yet, index."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import dash_hpc
from dash_hpc.errors import Interrupted, OtherVersion, StoreError, UsageError
from dash_hpc.execution.claims.folder import begin_anew, held_by_driver
from dash_hpc.execution.claims.lease import LEASE_FOLDER, Lease
from dash_hpc.execution.driver import drive
from dash_hpc.execution.forecast import require_space
from dash_hpc.execution.local.executor import LocalExecutor
from dash_hpc.execution.machine.journal import Journal
from dash_hpc.execution.machine.signals import StopFlag
from dash_hpc.execution.machine.streams import occupy, say
from dash_hpc.execution.packing import Choice, check_wishes, choose_packing
from dash_hpc.execution.planning import data_summaries, gene_count, largest_parts, planned_runs
from dash_hpc.execution.progress import Mode, Progress, line
from dash_hpc.store import (
    Store,
    is_store,
    make_folder,
    open_store,
    publish_sealed_text,
    read_run,
    run_path,
    set_aside,
    sweep_temporaries,
    write_plan,
)
from dash_hpc.store.checkpoint import CheckpointFile, checkpoint_paths
from dash_hpc.study import RunSpec, Study, load_study

if TYPE_CHECKING:
    from dash_hpc.execution.mpi.executor import MPIExecutor

__all__ = ["PRELOAD", "part_of", "prepare", "run_study"]

#: What a worker imports while its driver still plans.
PRELOAD = ("dash_hpc.execution.work.one_run", "dash_hpc.training", "dash_hpc.data")


def run_study(
    study_or_path: Study | str | os.PathLike[str],
    *,
    overrides: Sequence[str] = (),
    output: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    device: str = "cpu",
    pack: int | None = None,
    progress: Mode = "auto",
    executor: MPIExecutor | None = None,
    part: tuple[int, int] | None = None,
    move_to: str | os.PathLike[str] | None = None,
    fresh: bool = False,
    stop: StopFlag | None = None,
) -> Store:
    """Execute all runs of a study and return its store.

    Runs that the output folder already holds as done are not repeated, and those under way go on after their last
    checkpoint, so the same call continues after any interruption; damaged files are set aside and reported. A run that
    fails is recorded with its reason and the rest goes on; see ``Store.counts()``. Results do not depend on the number
    of workers.

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
        Number of processes; by default one for each core that this process may use, with one thread each, or one for
        each GPU. More workers than GPUs share them in turn.
    device : str, default "cpu"
        "cpu"; "cuda" (all GPUs that this process sees) or "cuda:<number>"; "auto": the GPUs, or the CPU with one line
        that says why. Last bits of results depend on it, and each record names it. With "auto" the CPU also takes over
        what a GPU cannot do.
    pack : int, optional
        Runs that advance together in a worker, on a GPU in one launch; results do not depend on it. Default: 1 on the
        CPU, on a GPU as many as memory allows, up to 256.
    progress : str
        "auto", "live" (table), "plain" (lines), or "none"; on standard error.
    executor : MPIExecutor, optional
        Where the runs are executed; ``workers`` processes of this machine by default. It is closed at the end.
    part : (int, int), optional
        ``(k, n)``: of the plan only the runs k, k + n, k + 2n, … (from 1). Others do the other parts.
    fresh : bool, default False
        Begin anew. An output folder that is not empty is refused unless ``move_to`` says where to move it.
    move_to : path, optional
        New name for the former output folder, on the same file system; only with ``fresh``.
    stop : StopFlag, optional
        Set by somebody else. By default SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGUSR2 set one (in the main thread, or on
        any rank of ``executor``); a second signal leaves at once.

    Returns
    -------
    Store

    Raises
    ------
    StudyError, DataError
        When the study or its data cannot be used: before any run starts.
    UsageError
        When the output folder holds other files, another driver is at work on it, ``workers`` or ``pack`` is not 1 or
        more, or ``device`` is unknown.
    GpuUnavailable, GpuMemoryError, GpuFault
        When a GPU was asked for by name and cannot be used, or fails.
    StoreError
        When the folder cannot be written.
    Interrupted
        On a signal: runs under way have made a checkpoint, and the same call goes on.
    """
    from dash_hpc.data import level_lines

    if isinstance(study_or_path, Study):
        if overrides:
            raise UsageError("overrides belong to a study file; change the Study itself instead")
        study = study_or_path
    else:
        study = load_study(study_or_path, overrides)
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise UsageError(f"workers must be 1 or more, got {workers!r}")
    check_wishes(device, pack, ranks=executor is not None)
    if part is not None and not 1 <= part[0] <= part[1]:
        raise UsageError(f"part {part[0]} of {part[1]}: parts count from 1")
    occupy()
    folder = Path(output) if output is not None else study.output
    if move_to is not None and not fresh:
        raise UsageError("move_to belongs to fresh: a study that goes on stays where it is")
    if stop is None and executor is not None:
        stop = executor.stop_flag
    own = StopFlag() if stop is None else None
    with own or nullcontext():
        _refuse_foreign(folder)
        runs = list(planned_runs(study))
        if fresh:
            begin_anew(folder, None if move_to is None else Path(move_to))
        make_folder(folder)
        name = "driver" if part is None else f"driver-{part[0]}-of-{part[1]}"
        with held_by_driver(folder, name, stop or own) as lease:
            prepare(study, folder, runs)
            store = open_store(folder)
            journal = Journal(folder / "log" / "driver.log")
            own_part = part_of(store.planned, part)
            notices = _set_damaged_aside(store, own_part)
            notices += _done_by_others(store, own_part)
            if lease.taken_from is not None:
                notices.insert(0, f"taken over from {lease.taken_from}, which is dead")
            notices += lease.problems
            todo = [run_id for run_id in own_part if store.status(run_id) != "done"]
            notices += _damaged_checkpoints(folder, todo)
            if todo:
                notices += level_lines(*data_summaries(study))
                wanted = set(todo)
                if executor is not None:
                    notices += executor.begin(folder / "log")
                genes = gene_count(study)
                largest = largest_parts(study)
                choice = choose_packing(device, pack, workers, genes=genes, spec=largest, executor=executor)
                under_way = choice.workers * choice.packing.size
                require_space(folder, [run for run in runs if run.id in wanted], genes, under_way)
                _Execution(store, todo, choice, progress, journal, lease, stop or own).run(notices, executor)
            else:
                if (flag := stop or own) is not None:
                    flag.begun()
                journal.echo = None if progress == "none" else say
                for notice in notices:
                    journal.write(notice)
            lease.check()
            store.refresh().write_index()
            _remove_left_checkpoints(store, own_part)
            if store.counts()["done"] == len(store.planned):
                lease.release(remove=True)
    return store


def prepare(study: Study, folder: Path, runs: Sequence[RunSpec] | None = None) -> tuple[str, ...]:
    """Make ``folder`` the store of the study: plan, resolved study, subfolders. Returns the run ids, in order.

    ``runs`` are the study's, when they have been planned already. Raises as :func:`run_study` does.
    """
    _refuse_foreign(folder)
    if runs is None:
        runs = list(planned_runs(study))
    make_folder(folder)
    # The plan comes first: it is what makes the folder a store.
    pairs = [(run.id, run.spec) for run in runs]
    write_plan(folder, pairs, study=study.name, base=study.base, command=sys.argv)
    publish_sealed_text(folder / "study.toml", study.to_toml())
    make_folder(folder / "runs")
    make_folder(folder / "log")
    make_folder(folder / LEASE_FOLDER)
    for parent in (folder / "runs", folder / LEASE_FOLDER):
        for place in (folder, parent, *parent.iterdir()):
            sweep_temporaries(place)
    return tuple(run.id for run in runs)


def part_of(run_ids: Sequence[str], part: tuple[int, int] | None) -> tuple[str, ...]:
    """Return the runs of part (k, n): every n-th, so that long and short ones are spread evenly."""
    return tuple(run_ids) if part is None else tuple(run_ids[part[0] - 1 :: part[1]])


class _Execution:
    """The runs that are left of a study, on an executor."""

    def __init__(
        self,
        store: Store,
        todo: Sequence[str],
        choice: Choice,
        mode: Mode,
        journal: Journal,
        lease: Lease,
        stop: StopFlag | None,
    ) -> None:
        self.store, self.todo, self.choice, self.journal = store, todo, choice, journal
        self.workers = min(choice.workers, len(choice.packing.packs(todo, choice.workers)))
        self.lease, self.stop = lease, stop
        self.shown = Progress(store, mode)

    def run(self, notices: Sequence[str], given: MPIExecutor | None) -> None:
        """Return when all runs have ended; raises Interrupted when they were asked to stop before."""
        store, journal, shown, packing = self.store, self.journal, self.shown, self.choice.packing
        journal.echo = shown.echo
        skipped = len(store.planned) - len(self.todo)
        journal.write(
            f"{store.name}: {len(store.planned)} runs into {store.folder}, "
            f"{self.workers} worker{'s' * (self.workers > 1)}"
            + (f", up to {packing.size} runs side by side in each" if packing.size > 1 else "")
            + (f", {skipped} done before" if skipped else "")
        )
        for notice in [*notices, *([self.choice.line] if self.choice.line else ())]:
            journal.write(notice)
        log_folder = store.folder / "log"
        begun = self.stop.begun if self.stop is not None else lambda: None
        executor = given or LocalExecutor(
            self.workers, log_folder, preload=PRELOAD, gpus=self.choice.gpus, on_begun=begun
        )
        try:
            drive(
                store.folder,
                self.todo,
                executor,
                window=self.workers,
                journal=journal,
                tick=self._tick,
                packing=packing,
                stop=self.stop,
                on_stop=self._ask(executor),
            )
            if self.stop is not None and self.stop.is_set() and self._unfinished():
                raise self._interrupted(self.stop.reason)
            executor.shutdown()
            journal.write(line(shown.look(())), echo=shown.mode == "plain")
        except KeyboardInterrupt:
            executor.stop()
            raise self._interrupted("interrupted") from None
        finally:
            executor.stop()
            shown.close()

    def _tick(self, active: Collection[str]) -> None:
        self.lease.check()
        text = self.shown.tick(active)
        if text is not None:
            self.journal.write(text, echo=self.shown.mode == "plain")

    def _ask(self, executor: LocalExecutor | MPIExecutor) -> Callable[[str], None]:
        """How the workers are asked to stop: those that still start have what the driver has left of the time."""
        if isinstance(executor, LocalExecutor) and (stop := self.stop) is not None:
            return lambda reason: executor.ask_to_stop(reason, stop.left())
        return executor.ask_to_stop

    def _unfinished(self) -> bool:
        self.store.refresh()
        return any(self.store.status(run_id) not in ("done", "failed") for run_id in self.todo)

    def _interrupted(self, reason: str) -> Interrupted:
        self.store.refresh().write_index()
        counts = self.store.counts()
        message = f"{reason}: interrupted with {counts['done']} of {counts['planned']} runs done"
        message = message.removeprefix("interrupted: ")
        self.journal.write(message, echo=False)
        return Interrupted(f"{message}; the same command goes on from there")


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: a file of this name is in the way; choose another output folder")
    if not folder.is_dir() or is_store(folder):
        return
    # A driver that was killed before it wrote its plan leaves a lease.
    others = sorted(
        path.name for path in folder.iterdir() if not path.name.startswith(".tmp-") and path.name != LEASE_FOLDER
    )
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise UsageError(
            f"{folder}: not empty ({others[0]}{more}) and not the output of a study; choose a new output folder"
        )


def _set_damaged_aside(store: Store, run_ids: Sequence[str]) -> list[str]:
    """Rename the damaged files of these runs, so that they are done again; return what to tell the user.

    Raises
    ------
    OtherVersion
        When another version of dash-hpc wrote one; it is not damaged, and none is renamed.
    """
    notices = list(store.problems)
    damaged = [run_id for run_id in run_ids if store.status(run_id) == "damaged"]
    for run_id in damaged:
        try:
            read_run(run_path(store.folder, run_id), tables=False, network=False)
        except OtherVersion as error:
            raise OtherVersion(f"{error}, or another output folder; no run was started") from error
        except StoreError:
            continue
    for run_id in damaged:
        renamed = set_aside(run_path(store.folder, run_id))
        notices.append(f"run {run_id}: its damaged file is now {renamed.name}; the run is done again")
    if damaged:
        store.refresh()
    return notices


def _done_by_others(store: Store, run_ids: Sequence[str]) -> list[str]:
    """Say which runs another version of the program has done: means will be over both."""
    makers = store.column("made.program")
    programs = [makers[run_id] for run_id in run_ids if store.status(run_id) == "done" and run_id in makers]
    others = Counter(name for name in programs if not f"{name} ".startswith(f"dash-hpc {dash_hpc.__version__} "))
    return [
        f"{count} run{'s' * (count > 1)} done before by another version, {name}; this is dash-hpc "
        f"{dash_hpc.__version__}, and means will mix them (another output folder keeps them apart)"
        for name, count in others.items()
        if not name.startswith("unknown")
    ]


def _remove_left_checkpoints(store: Store, run_ids: Collection[str]) -> None:
    """Remove what a worker left that was killed after the end of its run and before it could remove it itself."""
    own = set(run_ids)
    for run_id in {path.name.partition(".")[0] for path in (store.folder / "runs").glob("??/*.ckpt.h5")}:
        if run_id in own and store.status(run_id) == "done":
            CheckpointFile(store.folder, run_id).remove()


def _damaged_checkpoints(folder: Path, run_ids: Sequence[str]) -> list[str]:
    """Set damaged checkpoints aside before the runs go on, and return what to tell the user."""
    notices = []
    for run_id in run_ids:
        if any(path.exists() for path in checkpoint_paths(folder, run_id)):
            checkpoints = CheckpointFile(folder, run_id)
            left = checkpoints.load()
            remedy = "from the start" if left is None else f"after epoch {left.epoch}"
            notices += [f"run {run_id}: {problem}; the run goes on {remedy}" for problem in checkpoints.problems]
    return notices
