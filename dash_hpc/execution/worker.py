"""One run from its line in the plan to its record in the store."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dash_hpc.environment import seconds
from dash_hpc.errors import CheckpointUnfit, DashHpcError, RunFailed, StoreError
from dash_hpc.execution.lease import Held, Lease, LeaseLost, Observer, lease_seconds
from dash_hpc.execution.poison import forget_deaths
from dash_hpc.execution.provenance import now, provenance
from dash_hpc.execution.signals import process_flag
from dash_hpc.execution.threads import one_thread
from dash_hpc.store import RunRecord, RunWriter, canonical_json, find_record, plan_header, planned_spec
from dash_hpc.store.checkpoint import CheckpointFile, StoredCheckpoint
from dash_hpc.store.plan import PlanHeader

if TYPE_CHECKING:
    from dash_hpc.data import DataSet
    from dash_hpc.training import Fit

__all__ = ["checkpoint_seconds", "run_noted", "run_one"]

_CHECKPOINT_SECONDS = 30.0
_PATIENCE_SECONDS = 1.0


def run_one(folder: str, run_id: str) -> str:
    """Train, prune, evaluate and store one run of the plan in ``folder``, on one thread.

    Goes on after the last checkpoint, if there is one; a run that is done is left as it is. Whatever goes wrong in the
    run itself is recorded with a one-line reason; the traceback goes to standard error and into the record's
    provenance.

    Returns
    -------
    str
        "done" or "failed", as recorded; "stopped" when :func:`dash_hpc.execution.signals.process_flag` was set: a
        checkpoint is there and the run goes on with the next call; "held" when another process is at it. At least one
        epoch is trained, however early the flag was set, so that repeated stops do not keep a run where it is.

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
    with one_thread():
        notes: list[str] = []
        return {"status": _run(folder, run_id, notes), "notes": notes}


def checkpoint_seconds() -> float:
    """Return the seconds between two checkpoints of a run: DASH_HPC_CHECKPOINT_SECONDS, or 30.

    Raises
    ------
    UsageError
        When the variable is not a number of 0 or more.
    """
    return seconds("DASH_HPC_CHECKPOINT_SECONDS", _CHECKPOINT_SECONDS, zero=True)


def _run(folder: str, run_id: str, notes: list[str]) -> str:
    interval = checkpoint_seconds()
    spec, header = planned_spec(folder, run_id), plan_header(folder)
    lease = Lease(folder, run_id, observer=_observer())
    status = ""
    try:
        held = _acquire(lease)
        if held is not None:
            notes.append(f"{held} is at it")
            return "held"
        if lease.taken_from is not None:
            notes.append(f"taken over from {lease.taken_from}, which is dead")
        record = find_record(folder, run_id)
        if record is not None and record.status == "done":
            status = "done"
        else:
            job = _Job(folder, run_id, spec, header, lease, record, interval, notes)
            status = job.run()
    except LeaseLost as error:
        notes.append(f"given up: {error}")
        return "held"
    finally:
        lease.release(remove=status == "done")
    return status


def _acquire(lease: Lease) -> Held | None:
    """Try for a second: the last holder may be a worker that is just leaving."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while (held := lease.acquire()) is not None and time.monotonic() < until:
        time.sleep(0.05)
    return held


class _Job:
    """One run under its lease."""

    def __init__(
        self,
        folder: str,
        run_id: str,
        spec: Mapping[str, Any],
        header: PlanHeader,
        lease: Lease,
        record: RunRecord | None,
        interval: float,
        notes: list[str],
    ) -> None:
        self.folder, self.run_id, self.spec, self.base = folder, run_id, spec, header.base
        self.lease, self.interval, self.notes = lease, interval, notes
        # Looks right before a file takes effect whether the run is still this process's own.
        self.checkpoints = CheckpointFile(folder, run_id, guard=lease.check)
        self.circumstances = {**provenance(), "command": list(header.command), "started": now()}
        self.writer = RunWriter(folder, run_id, spec, self.circumstances, guard=lease.check)
        # Epochs that a reader has seen stay visible until this process has passed them.
        self.shown = 0
        if record is not None and record.status == "running":
            self.writer.resume_from(record)
            self.shown = record.epochs

    def run(self) -> str:
        self.lease.note("start")
        stored = self.checkpoints.load()
        if stored is not None:
            self._goes_on(stored)
        self.writer.begin()
        try:
            result = self._train_and_evaluate(stored)
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
            print(f"run {self.run_id}:\n{trace}", file=sys.stderr, flush=True)  # noqa: T201 - the worker's log
            self.writer.provenance |= {"ended": now(), "traceback": trace}
            self.writer.fail(_reason(error))
            return "failed"
        self.checkpoints.remove()
        forget_deaths(self.folder, self.run_id)
        return "done"

    def _goes_on(self, stored: StoredCheckpoint) -> None:
        """Note in the provenance where and after which epoch the run goes on."""
        earlier = stored.provenance
        changes = [
            f"{key}: {earlier.get(key)} -> {self.circumstances.get(key)}"
            for key in ("dash_hpc", "git", "python", "numpy", "torch", "native", "cpu")
            if earlier.get(key) != self.circumstances.get(key)
        ]
        here = {"epoch": stored.epoch, "at": now(), "host": self.circumstances["host"], "pid": os.getpid()}
        self.circumstances["started"] = earlier.get("started", self.circumstances["started"])
        self.circumstances["resumed"] = [*earlier.get("resumed", []), {**here, "changes": changes}]
        self.writer.provenance = self.circumstances

    def _train_and_evaluate(self, stored: StoredCheckpoint | None) -> dict[str, Any] | None:
        # Imported here so that the processes which only count and show runs do not load torch.
        from dash_hpc.training import Checkpoint, Trainer

        spec, writer, flag = self.spec, self.writer, process_flag()
        began = time.perf_counter()
        dataset = _dataset(canonical_json(spec["data"]), spec["seed"], str(self.base), spec["data_digest"])
        built = time.perf_counter()

        advanced = False

        def keep_up(fit: Fit) -> None:
            nonlocal advanced
            advanced = True
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
                fit = trainer.fit(
                    resume=resume,
                    checkpoint=keep,
                    checkpoint_seconds=self.interval,
                    stop=lambda: (advanced and flag.is_set()) or not self.lease.held,
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
        metrics = evaluate(fit.kept.weights, fit.kept.masks, dataset, solver=spec["solver"])
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
            "notes": [*dataset.notes, *evaluation_notes(dataset)],
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


@lru_cache(maxsize=4)
def _dataset(data: str, seed: int, base: str, expected_digest: str) -> DataSet:
    """Build a data set once per process: the runs of a study differ in strategy more often than in data."""
    import json

    from dash_hpc.data import build, digest

    spec = json.loads(data)
    if digest(spec, base=Path(base)) != expected_digest:
        raise RunFailed("the data files have changed since the study was planned; give the run command again")
    return build(spec, seed=seed, base=Path(base))


def _reason(error: Exception) -> str:
    message = " ".join(str(error).split())
    if isinstance(error, DashHpcError) and message:
        return message if not isinstance(error, StoreError) else f"cannot be stored: {message}"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
