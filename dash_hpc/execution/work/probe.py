"""A few seconds of the runs of a study, in a worker process, to tell how long the whole takes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array, issparse

from dash_hpc.study import total_epochs

if TYPE_CHECKING:
    from dash_hpc.data import DataSet, TimeCourse
    from dash_hpc.training import Fit, Kept

__all__ = ["densities", "probe"]

_FIRST_PAIRS = 16
_EPOCHS = 40
_LONG_ENOUGH = 0.25
# So many epochs are to fit, or those of a pruned model are not among them.
_LEAST_EPOCHS = 12
# How many times as many pairs are tried next: of more nothing is known yet.
_GROWTH = 4
#: Of the time for the probe; the rest is for evaluation, which is left out where it would take longer.
_TRAINING_SHARE = 0.8
_EVALUATION_SECONDS_PER_PAIR = 1.5e-7


class _Enough(Exception):
    """The probe has what it wants."""


def densities(schedule: Mapping[str, Any] | None, epochs: int) -> list[float]:
    """Return the share of active weights in each epoch; all 1 without a schedule."""
    from dash_hpc.pruning.schedule import LatticeSchedule

    if schedule is None:
        return [1.0] * epochs
    rule = LatticeSchedule(**schedule)
    share, found = 1.0, []
    for epoch in range(1, epochs + 1):
        share *= 1.0 - (rule.fraction_at(epoch, epochs) or 0.0)
        found.append(share)
    return found


def probe(specs: Sequence[Mapping[str, Any]], base: str, seconds: float) -> dict[str, Any]:
    """Train a little of each spec for ``seconds`` in all and extrapolate.

    Few pairs are trained at first, then more until an epoch takes a quarter of a second, or a twelfth of the time for
    its strategy where that is shorter; events follow each other quickly, so that the times at many sparsities are seen.
    The time of an epoch is proportional to the pairs and interpolated in the share of active weights.

    Returns
    -------
    dict
        ``pairs``; ``training_bytes`` and ``evaluation_bytes``, the peaks of this process in either;
        ``evaluated``: whether evaluation was measured; ``strategies``: for each name the ``seconds`` of a run to its
        last epoch and those of its dense ``epoch``.
    """
    from dash_hpc.execution.threads import one_thread

    with one_thread():
        return _probe(specs, Path(base), seconds)


def _probe(specs: Sequence[Mapping[str, Any]], base: Path, seconds: float) -> dict[str, Any]:
    from dash_hpc.data import build
    from dash_hpc.evaluation import evaluate
    from dash_hpc.execution.machine.memory import evaluation_bytes, peak_bytes, resident_bytes

    began = time.perf_counter()
    dataset = build(specs[0]["data"], seed=specs[0]["seed"], base=base)
    data_seconds = time.perf_counter() - began
    pairs = len(dataset.train.pairs())
    found: dict[str, Any] = {}
    kept: list[tuple[Mapping[str, Any], Kept]] = []
    for k, spec in enumerate(specs):
        left = _TRAINING_SHARE * seconds - (time.perf_counter() - began)
        rows, event, fit = _times(dataset, spec, max(left, 0.5) / (len(specs) - k))
        kept += [(spec, fit.kept)] if fit.kept is not None else []
        found[spec["strategy"]["name"]] = (spec, rows, event)
    training_bytes = peak_bytes()
    # A dense model, if there is one: its evaluation takes more time and memory.
    kept.sort(key=lambda item: any(map(issparse, item[1].weights.values())))
    courses = [course for course in (dataset.train, dataset.validation, dataset.test) if course is not None]
    compressed = bool(kept) and any(map(issparse, kept[0][1].weights.values()))
    in_evaluation = resident_bytes() + evaluation_bytes(
        dataset.n_genes,
        max(len(course.pairs()) for course in courses),
        truth=dataset.truth is not None,
        sources=0 if dataset.prior is None else int(np.count_nonzero(np.diff(csr_array(dataset.prior.motif).indptr))),
        compressed=compressed,
    )
    evaluation: float | None = None
    left = seconds - (time.perf_counter() - began)
    if kept and (compressed or _EVALUATION_SECONDS_PER_PAIR * dataset.n_genes**2 < left):
        spec, model = kept[0]
        started = time.perf_counter()
        evaluate(model.weights, model.masks, dataset, solver=spec["solver"])
        evaluation = time.perf_counter() - started
        in_evaluation = peak_bytes()
    strategies = {}
    for name, (spec, rows, event) in found.items():
        epochs = total_epochs(spec)
        density = densities(spec["schedule"] if event is not None else None, epochs)
        shares, costs = np.array(sorted(rows)).T
        events = sum(a != b for a, b in zip([1.0, *density], density, strict=False))
        total = float(np.interp(density, shares, costs).sum()) + events * (event or 0.0)
        strategies[name] = {"seconds": total + data_seconds + (evaluation or 0.0), "epoch": float(costs[-1])}
    return {
        "pairs": pairs,
        "training_bytes": training_bytes,
        "evaluation_bytes": in_evaluation,
        "evaluated": evaluation is not None,
        "strategies": strategies,
    }


def _times(
    dataset: DataSet, spec: Mapping[str, Any], seconds: float
) -> tuple[list[tuple[float, float]], float | None, Fit]:
    """Return pairs (share of active weights, seconds of an epoch over all data), seconds of an event, and the fit."""
    from dataclasses import replace

    until = time.perf_counter() + seconds
    whole = len(dataset.train.pairs())
    count = min(_FIRST_PAIRS, whole)

    def part(count: int) -> DataSet:
        return replace(dataset, train=_first(dataset.train, count), validation=_first(dataset.validation, count))

    def left() -> float:
        return until - time.perf_counter()

    fit: Fit | None = None
    growing = count < whole
    while growing:
        fit = _fit(part(count), spec, left(), 2)
        epoch = fit.history["seconds_train"][-1] + fit.history["seconds_validation"][-1]
        room = min(_LONG_ENOUGH, left() / _LEAST_EPOCHS) / epoch
        growing = room >= _GROWTH and _GROWTH * count < whole
        count = min(whole, int(count * min(max(room, 1.0), _GROWTH)))
    some = part(count)
    if fit is None or left() > 0:
        fit = _fit(some, spec, left(), _EPOCHS)
    scale_train = whole / len(some.train.pairs())
    scale_validation = len(dataset.validation.pairs()) / len(some.validation.pairs())
    history = fit.history
    density = (
        densities(_quick(spec)["schedule"], len(history["epoch"])) if fit.events else [1.0] * len(history["epoch"])
    )
    samples: dict[float, list[float]] = {}
    # The first epoch also loads libraries and fills caches.
    for k in range(1 if len(density) > 2 else 0, len(density)):
        cost = history["seconds_train"][k] * scale_train + history["seconds_validation"][k] * scale_validation
        samples.setdefault(round(density[k], 6), []).append(cost)
    rows = [(share, float(np.median(costs))) for share, costs in samples.items()]
    if not fit.events:
        return rows, None, fit
    event = [a + b for a, b in zip(history["seconds_score"], history["seconds_select"], strict=True) if a + b > 0]
    return rows, float(np.median(event)) if event else 0.0, fit


def _quick(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``spec`` with an event in each epoch from the third on."""
    quick = {**spec, "training": {**spec["training"], "epochs": _EPOCHS, "early_stop": 0}}
    quick["schedule"] = {**spec["schedule"], "first_epoch": 3, "every": 1}
    if isinstance(spec["strategy"].get("rewind"), int):
        quick["strategy"] = {**spec["strategy"], "rewind": "none"}
    return quick


def _fit(dataset: DataSet, spec: Mapping[str, Any], seconds: float, epochs: int) -> Fit:
    from dash_hpc.errors import RunFailed
    from dash_hpc.training import Trainer

    until = time.perf_counter() + seconds
    seen: list[Fit] = []

    def look(fit: Fit) -> None:
        seen[:] = [fit]
        if fit.epoch >= epochs or time.perf_counter() > until:
            raise _Enough

    try:
        return Trainer(dataset, _quick(spec), progress=look).fit()
    except _Enough:
        pass
    except RunFailed:
        # Few pairs at a high learning rate may diverge; what was measured before still counts.
        if not seen:
            raise
    return seen[0]


def _first(course: TimeCourse, pairs: int) -> TimeCourse:
    """Return a time course of the first ``pairs`` pairs or a few more; at least one."""
    from dataclasses import replace

    from dash_hpc.data.timecourse import Trajectory, valid_starts

    kept: list[Trajectory] = []
    left = pairs
    for trajectory in course.trajectories:
        starts = valid_starts(trajectory, course.max_missing)
        if len(starts) == 0:
            continue
        points = len(trajectory) if len(starts) <= left else int(starts[left - 1]) + 2
        kept.append(trajectory.part(0, points - 1))
        left -= min(len(starts), left)
        if left <= 0:
            break
    return replace(course, trajectories=tuple(kept))
