"""One run from its line in the plan to its record in the store."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dash_hpc.errors import DashHpcError, RunFailed, StoreError
from dash_hpc.execution.provenance import now, provenance
from dash_hpc.execution.threads import one_thread
from dash_hpc.store import RunWriter, canonical_json, plan_header, planned_spec

if TYPE_CHECKING:
    from dash_hpc.data import DataSet
    from dash_hpc.training import Fit

__all__ = ["run_one"]


def run_one(folder: str, run_id: str) -> str:
    """Train, prune, evaluate and store one run of the plan in ``folder``, on one thread.

    Whatever goes wrong in the run itself is recorded with a one-line reason; the traceback goes to standard error
    and into the record's provenance.

    Returns
    -------
    str
        "done" or "failed", as recorded.

    Raises
    ------
    StoreError
        When the plan has no such run, or the record cannot be written.
    """
    with one_thread():
        return _run(folder, run_id)


def _run(folder: str, run_id: str) -> str:
    spec, header = planned_spec(folder, run_id), plan_header(folder)
    circumstances = {**provenance(), "command": list(header.command), "started": now()}
    writer = RunWriter(folder, run_id, spec, circumstances)
    writer.begin()
    try:
        result = _train_and_evaluate(spec, header.base, writer)
        writer.provenance["ended"] = now()
        writer.finish(**result)
    except Exception as error:
        trace = traceback.format_exc()
        print(f"run {run_id}:\n{trace}", file=sys.stderr, flush=True)  # noqa: T201 - the worker's log
        writer.provenance |= {"ended": now(), "traceback": trace}
        writer.fail(_reason(error))
        return "failed"
    return "done"


def _train_and_evaluate(spec: Mapping[str, Any], base: Path, writer: RunWriter) -> dict[str, Any]:
    # Imported here so that the processes which only count and show runs do not load torch.
    from dash_hpc.evaluation import evaluate, evaluation_notes
    from dash_hpc.training import Trainer

    began = time.perf_counter()
    dataset = _dataset(canonical_json(spec["data"]), spec["seed"], str(base), spec["data_digest"])
    built = time.perf_counter()

    def keep_up(fit: Fit) -> None:
        writer.update(fit.history, fit.events)

    fit = Trainer(dataset, spec, progress=keep_up).fit()
    if fit.kept is None:
        raise RunFailed("no epoch was completed, so there is no model to keep; set training.epochs to 1 or more")
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
