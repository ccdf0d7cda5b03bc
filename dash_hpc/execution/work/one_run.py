"""One run from its line in the plan to its record in the store."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Generator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import dash_hpc
from dash_hpc.environment import seconds
from dash_hpc.errors import CheckpointUnfit, DashHpcError, RunFailed, StoreError
from dash_hpc.execution.claims.deaths import forget_deaths
from dash_hpc.execution.claims.lease import Held, Lease, LeaseLost, Observer, lease_seconds
from dash_hpc.execution.machine.provenance import now, provenance
from dash_hpc.execution.machine.signals import nothing_to_lose, process_flag
from dash_hpc.execution.machine.streams import say
from dash_hpc.execution.threads import one_thread
from dash_hpc.names import as_utf8
from dash_hpc.shown import shown_block
from dash_hpc.store import RunRecord, RunWriter, canonical_json, find_record, plan_header, planned_spec
from dash_hpc.store.checkpoint import CheckpointFile, StoredCheckpoint
from dash_hpc.store.plan import PlanHeader

if TYPE_CHECKING:
    from dash_hpc.data import DataSet
    from dash_hpc.training import Fit

__all__ = ["PATIENCE_SECONDS", "OneRun", "checkpoint_seconds", "run_noted", "run_one"]

_CHECKPOINT_SECONDS = 30.0
# What a resumed run tells when it differs from before.
_TELLING = ("dash_hpc", "code", "git", "python", "numpy", "scipy", "torch", "native", "cpu", "device")
#: How long to try for a run's lease: the last holder may be a worker that is just leaving.
PATIENCE_SECONDS = 1.0
_FLUSH_SECONDS = 5.0
#: A publication takes milliseconds: so many runs side by side wait longer, lest it takes the time of training.
_FLUSH_SECONDS_EACH = 0.2


def run_one(folder: str, run_id: str) -> str:
    """Train, prune, evaluate and store one run of the plan in ``folder``, on one thread.

    Goes on after the last checkpoint, if there is one; a run that is done is left as it is. Whatever goes wrong in the
    run itself is recorded with a one-line reason; the traceback goes to standard error and into the record's
    provenance.

    Returns
    -------
    str
        "done" or "failed", as recorded; "stopped" when :func:`dash_hpc.execution.process_flag` was set: a checkpoint is
        there and the run goes on with the next call; "held" when another process is at it. At least one epoch is
        trained, however early the flag was set, so that repeated stops do not keep a run where it is.

    Raises
    ------
    StoreError
        When the plan has no such run, or the record cannot be written (disk full, folder gone).
    UsageError
        When an environment variable of :func:`checkpoint_seconds` or of the lease is not a number of seconds.
    """
    return str(run_noted(folder, run_id)["status"])


def run_noted(folder: str, run_id: str) -> dict[str, Any]:
    """Do what :func:`run_one` does; return ``{"status": …, "notes": […]}`` with one line per thing worth telling."""
    from dash_hpc.training import run_steps

    with one_thread():
        run = OneRun(folder, run_id)
        status = run_steps(run.steps(process_flag().is_set))
        return {"status": status, "notes": run.notes}


def checkpoint_seconds() -> float:
    """Return the seconds between two checkpoints of a run: DASH_HPC_CHECKPOINT_SECONDS, or 30.

    Raises
    ------
    UsageError
        When the variable is not a number of 0 or more.
    """
    return seconds("DASH_HPC_CHECKPOINT_SECONDS", _CHECKPOINT_SECONDS, zero=True)


class OneRun:
    """One run of a plan, from its lease to its record; work for :class:`dash_hpc.training.Pack` or ``run_steps``.

    Parameters
    ----------
    folder, run_id : str
    device : str, default "cpu"
        Where it is worked on, for the record.
    side_by_side : int, default 1
        Runs that share this process's time.

    Attributes
    ----------
    notes : list of str
        One line per thing worth telling.
    """

    def __init__(self, folder: str, run_id: str, *, device: str = "cpu", side_by_side: int = 1) -> None:
        self.folder, self.run_id = folder, run_id
        self.device, self.side_by_side = device, side_by_side
        self.notes: list[str] = []
        self._leased: _LeasedRun | None = None

    def steps(self, stop: Callable[[], bool], patience: float = PATIENCE_SECONDS) -> Generator[Any, Any, str]:
        """Give out the work of the run; end with its status, as :func:`run_one` returns it.

        Asks ``stop`` after the first epoch and before each further one; tries for the lease for ``patience`` seconds.
        Raises as :func:`run_one` does.
        """
        interval = checkpoint_seconds()
        spec, header = planned_spec(self.folder, self.run_id), plan_header(self.folder)
        lease = Lease(self.folder, self.run_id, observer=_observer())
        status = ""
        try:
            held = _acquire(lease, patience)
            if held is not None:
                self.notes.append(f"{held} is at it")
                return "held"
            self.notes += lease.problems
            if lease.taken_from is not None:
                self.notes.append(f"taken over from {lease.taken_from}, which is dead")
            record = find_record(self.folder, self.run_id)
            if record is not None and record.status == "done":
                # A worker that was killed between the two left its checkpoints.
                CheckpointFile(self.folder, self.run_id, guard=lease.check).remove()
                status = "done"
            else:
                self._leased = _LeasedRun(self, spec, header, lease, record, interval)
                status = yield from self._leased.run(stop)
        except LeaseLost as error:
            self.notes.append(f"given up: {error}")
            return "held"
        finally:
            lease.release(remove=status == "done")
        return status

    def moved(self, device: str, reason: str) -> None:
        """Note that the run goes on elsewhere: last bits may depend on it."""
        if self._leased is not None:
            self._leased.moved(device, reason)
        self.device = device


def _acquire(lease: Lease, patience: float) -> Held | None:
    until = time.monotonic() + patience
    while (held := lease.acquire()) is not None and time.monotonic() < until:
        time.sleep(0.05)
    return held


class _LeasedRun:
    """One run under its lease."""

    def __init__(
        self,
        run: OneRun,
        spec: Mapping[str, Any],
        header: PlanHeader,
        lease: Lease,
        record: RunRecord | None,
        interval: float,
    ) -> None:
        self.folder, self.run_id, self.notes, self.spec, self.base = (
            run.folder,
            run.run_id,
            run.notes,
            spec,
            header.base,
        )
        self.lease, self.interval, self.side_by_side = lease, interval, run.side_by_side
        # Looks right before a file takes effect whether the run is still this process's own.
        self.checkpoints = CheckpointFile(self.folder, self.run_id, guard=lease.check)
        self.circumstances = {
            **provenance(), "device": run.device, "side_by_side": run.side_by_side,
            "command": list(header.command), "started": now(),
        }  # fmt: skip
        flush = max(_FLUSH_SECONDS, _FLUSH_SECONDS_EACH * run.side_by_side)
        self.writer = RunWriter(self.folder, self.run_id, spec, self.circumstances, interval=flush, guard=lease.check)
        # Epochs that a reader has seen stay visible until this process has passed them.
        self.shown = 0
        self.epoch = 0
        if record is not None and record.status == "running":
            self.writer.resume_from(record)
            self.shown = record.epochs

    def run(self, stop: Callable[[], bool]) -> Generator[Any, Any, str]:
        self.lease.note("start")
        stored = self.checkpoints.load()
        if stored is not None:
            self._goes_on(stored)
        self.writer.begin()
        try:
            result = yield from self._train_and_evaluate(stored, stop)
            if result is None:
                return "stopped"
            self.writer.provenance["ended"] = now()
            self.writer.finish(**result)
        except LeaseLost:
            raise
        except Exception as error:
            if isinstance(error, StoreError) and isinstance(error.__cause__, OSError):
                raise  # The disk, not the run: the study stops and goes on when that is repaired.
            trace = traceback.format_exc()
            say(f"run {self.run_id}:\n{shown_block(trace)}")  # the worker's log
            self.writer.provenance |= {"ended": now(), "traceback": trace}
            self.writer.fail(_reason(error))
            return "failed"
        self.checkpoints.remove()
        forget_deaths(self.folder, self.run_id)
        return "done"

    def _goes_on(self, stored: StoredCheckpoint) -> None:
        """Note in the provenance where and after which epoch the run goes on."""
        earlier = {"device": "cpu", **stored.provenance}
        changed = [key for key in _TELLING if earlier.get(key) != self.circumstances.get(key)]
        changes = [f"{key}: {earlier.get(key)} -> {self.circumstances.get(key)}" for key in changed]
        here = {"epoch": stored.epoch, "at": now(), "host": self.circumstances["host"], "pid": os.getpid()}
        step = {**here, "changes": changes, "before": {key: earlier.get(key) for key in changed}}
        self.circumstances["started"] = earlier.get("started", self.circumstances["started"])
        if earlier.get("moved"):
            self.circumstances["moved"] = earlier["moved"]
        self.circumstances["resumed"] = [*earlier.get("resumed", []), step]
        self.writer.provenance = self.circumstances
        if {"dash_hpc", "code"} & set(changed):
            before = earlier.get("dash_hpc")
            also = ", of other code" if before == dash_hpc.__version__ else ""
            self.notes.append(
                f"goes on after epoch {stored.epoch} of dash-hpc {before}{also} with dash-hpc {dash_hpc.__version__}"
            )

    def moved(self, device: str, reason: str) -> None:
        """Note in the provenance that the run goes on elsewhere."""
        step = {"epoch": self.epoch, "at": now(), "from": self.circumstances["device"], "to": device, "reason": reason}
        self.circumstances |= {"device": device, "moved": [*self.circumstances.get("moved", []), step]}
        self.writer.provenance = self.circumstances

    def _train_and_evaluate(
        self, stored: StoredCheckpoint | None, asked: Callable[[], bool]
    ) -> Generator[Any, Any, dict[str, Any] | None]:
        # Imported here so that the processes which only count and show runs do not load torch.
        from dash_hpc.training import Checkpoint, Trainer

        spec, writer = self.spec, self.writer
        began = time.perf_counter()
        with nothing_to_lose():
            dataset = _dataset(canonical_json(spec["data"]), spec["seed"], str(self.base), spec["data_digest"])
        built = time.perf_counter()
        self.circumstances["time_unit"] = writer.provenance["time_unit"] = dataset.time_unit

        advanced = False

        def keep_up(fit: Fit) -> None:
            nonlocal advanced
            advanced = True
            self.epoch = fit.epoch
            self.lease.note(f"epoch {fit.epoch + 1}" if not fit.stop_reason else "evaluation")
            if fit.epoch >= self.shown:
                writer.update(fit.history, fit.events)

        def keep(checkpoint: Checkpoint) -> None:
            self.checkpoints.save(checkpoint.epoch, checkpoint.facts, checkpoint.arrays, self.circumstances)

        fit = None
        while fit is None:
            resume = None if stored is None else Checkpoint(stored.epoch, stored.facts, stored.arrays)
            trainer = Trainer(dataset, spec, progress=keep_up)
            self.lease.note(f"epoch {resume.epoch + 1 if resume else 1}")
            try:
                fit = yield from trainer.steps(
                    resume=resume,
                    checkpoint=keep,
                    checkpoint_seconds=self.interval,
                    stop=lambda: (advanced and asked()) or not self.lease.held,
                    side_by_side=self.side_by_side,
                )
            except CheckpointUnfit as error:
                if stored is None:
                    raise
                stored = self.checkpoints.reject(stored, str(error))
        self.notes += self.checkpoints.problems
        if not fit.stop_reason:
            self.lease.check()
            if fit.epoch >= self.shown and not writer.update(fit.history, fit.events):
                writer.begin()
            return None
        if fit.kept is None:
            raise RunFailed("no epoch was completed, so there is no model to keep; set training.epochs to 1 or more")
        from dash_hpc.evaluation import evaluate, evaluation_notes

        trained = time.perf_counter()
        used = trainer.dataset
        rows = used.starts != "measured" or trainer.validation.rows is not None
        metrics = evaluate(
            fit.kept.weights, fit.kept.masks, used, solver=spec["solver"], model=spec["model"], rows=rows
        )
        evaluated = time.perf_counter()
        return {
            "history": fit.history,
            "events": fit.events,
            "weights": fit.kept.weights,
            "masks": fit.kept.masks,
            "epoch": fit.kept.epoch,
            "metrics": metrics,
            "genes": dataset.train.genes,
            "stop_reason": fit.stop_reason,
            "evidence": trainer.strategy.evidence(),
            "notes": [*dataset.notes, *trainer.strategy.notes(), *evaluation_notes(dataset)],
            "timing": {
                **{f"seconds_{name}": value for name, value in fit.seconds.items()},
                "seconds_data": built - began,
                "seconds_evaluation": evaluated - trained,
            },
        }


@lru_cache(maxsize=1)
def _observer() -> Observer:
    """Return the one of this process: observation takes time, and the next try goes on where the last one ended."""
    return Observer(lease_seconds())


#: Data sets that some run still uses: runs side by side share them, however many there are.
_in_use: WeakValueDictionary[tuple[str, int, str, str], DataSet] = WeakValueDictionary()


@lru_cache(maxsize=4)
def _dataset(data: str, seed: int, base: str, expected_digest: str) -> DataSet:
    """Build a data set once per process: the runs of a study differ in strategy more often than in data."""
    import json

    from dash_hpc.data import build, digest

    key = (data, seed, base, expected_digest)
    if (found := _in_use.get(key)) is None:
        spec = json.loads(data)
        if digest(spec, base=Path(base)) != expected_digest:
            raise RunFailed("the data files have changed since the study was planned; give the run command again")
        found = _in_use[key] = build(spec, seed=seed, base=Path(base))
    return found


def _reason(error: Exception) -> str:
    message = as_utf8(" ".join(str(error).split()))
    if isinstance(error, DashHpcError) and message:
        return message if not isinstance(error, StoreError) else f"cannot be stored: {message}"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
