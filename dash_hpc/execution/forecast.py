"""What a study will need: runs, disk, memory and time, before it starts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from dash_hpc.errors import DashHpcError, StoreError
from dash_hpc.execution.local.executor import LocalExecutor
from dash_hpc.execution.machine.memory import report_bytes
from dash_hpc.execution.packing import choose_packing, run_bytes
from dash_hpc.execution.planning import gene_count, largest_parts, planned_runs
from dash_hpc.execution.work.probe import densities, probe
from dash_hpc.models.registry import family_of_spec
from dash_hpc.shown import duration
from dash_hpc.store import FreeSpace, RunWriter, canonical_json, free_space, in_bytes
from dash_hpc.study import Plan, RunSpec, Study
from dash_hpc.study.schema import PARTS
from dash_hpc.study.strategies import STRATEGIES, total_epochs

__all__ = ["DiskNeed", "Forecast", "disk_need", "forecast", "require_space"]

# Of a probe: for each strategy, and the least and the most for all together.
PROBE_SECONDS_EACH, PROBE_SECONDS_LEAST, PROBE_SECONDS_MOST = 0.5, 2.0, 10.0
_BLOCK = 4096
_START_SECONDS = 2.0
_DRIVER_BYTES, _DRIVER_BYTES_PER_RUN = 100_000_000, 20_000
_REPORT_BYTES = 5_000_000
_INDEX_BYTES_PER_RUN = 2_000
_OTHER_FILES = 40
# Sizes of records that are measured one by one, each in about 15 ms.
_MOST_SHAPES = 32
# Axes that the size of a record depends on.
_SIZES = {
    "model": ("family", "hidden", "dtype"),
    "training": ("epochs",),
    "schedule": ("first_epoch", "first_fraction", "every", "fraction"),
}


@dataclass(frozen=True)
class DiskNeed:
    """Most bytes and files that runs have on disk at a time: records, two checkpoints per run under way, the rest."""

    bytes: int
    files: int


@dataclass(frozen=True)
class Forecast:
    """What a study will need.

    Attributes
    ----------
    runs : int
    workers : int
        Runs, or packs of runs, at a time.
    pack : int
        Runs side by side in each.
    device : str
        What was found for the device that was asked for; "" for the CPU by default.
    genes, pairs : int
        Size of the data; pairs of consecutive time points to train on (0 without a probe).
    disk : DiskNeed
    free : FreeSpace or None
        At the output folder.
    worker_bytes, memory_bytes : int or None
        Of one worker at its peak, and of all with the driver while runs are under way; None without a probe.
    training_bytes, evaluation_bytes : int or None
        Of one worker at its peak while it trains, and while it evaluates at the end of a run.
    report_bytes : int or None
        Of the driver at its peak, when it writes the report after all runs.
    run_seconds : dict
        Seconds of a run by strategy, to the last epoch: an early stop makes it shorter. Empty without a probe.
    seconds : float or None
        Of the whole study on this machine; None without a probe.
    probe_seconds : float
        How long runs were tried for that; 0 without a probe.
    notes : tuple of str
        What the figures leave out.
    """

    runs: int
    workers: int
    genes: int
    pairs: int
    disk: DiskNeed
    free: FreeSpace | None
    worker_bytes: int | None = None
    memory_bytes: int | None = None
    run_seconds: Mapping[str, float] | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()
    pack: int = 1
    device: str = ""
    training_bytes: int | None = None
    evaluation_bytes: int | None = None
    report_bytes: int | None = None
    probe_seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "run_seconds": dict(self.run_seconds or {})}

    def lines(self) -> list[str]:
        """Return the forecast for people, one subject per line."""
        free = "" if self.free is None else f"; {in_bytes(self.free.bytes)} free there"
        if self.free is not None and (self.free.bytes < self.disk.bytes or _too_few(self.free, self.disk.files)):
            free += ": NOT ENOUGH"
        text = [self.device] if self.device else []
        text.append(f"disk: at most {in_bytes(self.disk.bytes)} in {self.disk.files:,} files{free}")
        workers = f"{self.workers} worker{'s' * (self.workers > 1)}"
        if self.pack > 1:
            workers += f" with up to {self.pack} runs side by side"
        if self.worker_bytes is not None and self.memory_bytes is not None:
            each = f"{in_bytes(self.worker_bytes)} for each of {workers}"
            text.append(f"memory: {in_bytes(self.memory_bytes)} ({each}, the rest for the driver)")
        if self.training_bytes is not None and self.evaluation_bytes is not None:
            text.append(
                f"evaluation: {in_bytes(self.evaluation_bytes)} in a worker when a run ends (training: "
                f"{in_bytes(self.training_bytes)})"
            )
        if self.report_bytes is not None:
            text.append(f"report: {in_bytes(self.report_bytes)} in the driver after all runs")
        if self.seconds is not None:
            parts = ", ".join(f"{name} {duration(each)}" for name, each in (self.run_seconds or {}).items())
            text.append(f"time: at most about {duration(self.seconds)} with {workers} (a run: {parts})")
            if self.probe_seconds:
                text.append(
                    f"probe: {self.probe_seconds:g} s of training; --probe SECONDS tries longer and tells it better"
                )
        return text + [f"note: {note}" for note in self.notes]


def forecast(
    study: Study,
    *,
    output: Path | None = None,
    workers: int | None = None,
    device: str = "cpu",
    pack: int | None = None,
    seconds: float | None = None,
    runs: Plan | None = None,
) -> Forecast:
    """Estimate what a study needs, from a probe of at most about ``seconds`` in a worker process (0: no probe).

    Left out, they are half a second for each strategy, and from 2 to 10 seconds for all.
    Nothing is written to the output folder. ``workers``, ``device`` and ``pack`` as for
    :func:`dash_hpc.execution.run_study`; the probe is always one of the CPU, and the notes say so.

    Raises
    ------
    StudyError, DataError
        When the study or its data cannot be used.
    UsageError, GpuUnavailable, GpuMemoryError, GpuFault
        When the device is unknown, or a GPU was asked for by name and cannot be used.
    """
    runs = planned_runs(study) if runs is None else runs
    genes = gene_count(study)
    largest = largest_parts(study)
    choice = choose_packing(device, pack, workers, genes=genes, spec=largest)
    packs = choice.packing.count(len(runs), choice.workers)
    workers, side_by_side = min(choice.workers, packs), -(-len(runs) // packs)
    folder = study.output if output is None else output
    disk = disk_need(runs, genes, workers * side_by_side)
    free = free_space(folder)
    plain = Forecast(len(runs), workers, genes, 0, disk, free, pack=side_by_side, device=choice.line)
    if seconds is not None and seconds <= 0:
        return _with_note(plain, "time and memory were not measured (--probe 10 tries runs for ten seconds)")
    firsts: dict[str, dict[str, Any]] = {}
    for run, _ in runs.samples({}):
        firsts.setdefault(run.spec["strategy"]["name"], run.spec | largest)
    if seconds is None:
        seconds = min(max(PROBE_SECONDS_EACH * len(firsts), PROBE_SECONDS_LEAST), PROBE_SECONDS_MOST)
    with LocalExecutor(1) as executor:
        future = executor.submit(probe, list(firsts.values()), str(study.base), float(seconds))
        try:
            found = future.result(timeout=60.0 + 6 * seconds)
        except NotInTime:
            executor.stop()
            return _with_note(plain, "not even a few pairs were trained in a minute, so time and memory are unknown")
        except DashHpcError as error:
            return _with_note(plain, f"the probe failed, so time and memory are unknown: {error}")
    each = {name: own["seconds"] for name, own in found["strategies"].items()}
    counts = runs.counts()
    total = max(sum(each[name] * count for name, count in counts.items()) / workers, *each.values()) + _START_SECONDS
    notes = ["early stops, which shorten runs, are not foreseen"] if max(study.training.axes["early_stop"]) else []
    if any(study.part(part).size > 1 for part in PARTS):
        notes.append("memory and time are those of the largest run, for all runs")
    if not found["evaluated"]:
        notes.append("the time of evaluation after training is left out: it would take longer than the probe")
    if choice.packing.device != "cpu":
        notes.append("time and memory were measured on the CPU, one run after the other, not on the GPU")
    more = (side_by_side - 1) * run_bytes(largest, genes)
    training, evaluation = found["training_bytes"] + more, found["evaluation_bytes"] + more
    each_worker = max(training, evaluation)
    return replace(
        plain,
        pairs=found["pairs"],
        worker_bytes=each_worker,
        memory_bytes=each_worker * workers + _DRIVER_BYTES + _DRIVER_BYTES_PER_RUN * len(runs),
        training_bytes=training,
        evaluation_bytes=evaluation,
        report_bytes=report_bytes(genes),
        run_seconds=each,
        seconds=total,
        probe_seconds=float(seconds),
        notes=tuple(notes),
    )


def require_space(folder: Path | str, runs: Sequence[RunSpec], genes: int, workers: int) -> None:
    """Refuse to start ``runs`` where there is no room for them.

    Raises
    ------
    StoreError
        With folder, need, free space and remedy; nothing was started.
    """
    free = free_space(folder)
    if free is None or not runs:
        return
    need = disk_need(runs, genes, workers)
    remedy = "make room, or choose another folder with --output; no run was started"
    count = f"{len(runs):,} run{'s' * (len(runs) != 1)}"
    if free.bytes < need.bytes:
        raise StoreError(
            f"{folder}: {count} may need {in_bytes(need.bytes)}, but {in_bytes(free.bytes)} are free there; {remedy}"
        )
    if _too_few(free, need.files):
        raise StoreError(
            f"{folder}: {count} may need {need.files:,} files, but {free.files:,} are free there; {remedy}"
        )


def disk_need(runs: Sequence[RunSpec] | Plan, genes: int, workers: int) -> DiskNeed:
    """Return the most that ``runs`` have on disk, with ``workers`` of them under way at a time.

    A record's size is that of one made of random numbers, with the network as large as the last epoch leaves it.
    """
    sizes: dict[str, tuple[int, int]] = {}
    records = 0
    plan_bytes = 0
    counted = _shapes(runs) if isinstance(runs, Plan) else ((run, 1) for run in runs)
    for run, count in counted:
        shape = _shape(run.spec)
        key = canonical_json(shape)
        if key not in sizes:
            sizes[key] = (_record_bytes(key, genes), _checkpoint_bytes(shape, genes))
        records += count * _blocks(sizes[key][0])
        plan_bytes += count * (len(canonical_json(run.spec)) + 50)
    under_way = max((3 * _blocks(checkpoint) + _blocks(record) for record, checkpoint in sizes.values()), default=0)
    rest = _REPORT_BYTES + _INDEX_BYTES_PER_RUN * len(runs) * 2 + plan_bytes
    folders = min(256, len(runs))
    total = records + min(workers, len(runs)) * under_way + rest + folders * _BLOCK
    return DiskNeed(total, len(runs) + folders + 4 * min(workers, len(runs)) + _OTHER_FILES)


def _shapes(runs: Plan) -> Iterable[tuple[RunSpec, int]]:
    """Runs that stand for all whose records have one size; of very many sizes the largest stands for all."""
    found = list(islice(runs.samples(_SIZES), _MOST_SHAPES + 1))
    if len(found) <= _MOST_SHAPES:
        return found
    largest = largest_parts(runs.study)
    return [(RunSpec(run.id, run.spec | largest), count) for run, count in runs.samples({})]


def _shape(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What the size of a record depends on."""
    name = spec["strategy"]["name"]
    return {
        "epochs": total_epochs(spec),
        "model": dict(spec["model"]),
        "schedule": spec["schedule"] if STRATEGIES[name].by_schedule else None,
    }


@lru_cache(maxsize=64)
def _record_bytes(shape_text: str, genes: int) -> int:
    import json

    shape = json.loads(shape_text)
    rng = np.random.default_rng(0)
    epochs, model = int(shape["epochs"]), shape["model"]
    density = densities(shape["schedule"], epochs)
    events = sum(a != b for a, b in zip([1.0, *density], density, strict=False))
    family = family_of_spec(model)
    sizes = family.shapes(model, genes)
    masks = {name: rng.random(sizes[name]) < (density[-1] if density else 1.0) for name in family.prunable}
    weights = {name: rng.standard_normal(size) for name, size in sizes.items()}
    weights |= {name: np.where(mask, weights[name], 0.0) for name, mask in masks.items()}
    rows = rng.random((len(masks) * events, 10)).tolist()
    with tempfile.TemporaryDirectory(prefix="dash-hpc-forecast-") as place:
        writer = RunWriter(place, "0" * 16, shape, {"text": "x" * 3000})
        writer.finish(
            history={"epoch": np.arange(epochs), **{f"column{k}": rng.random(epochs) for k in range(9)}},
            events=[dict(zip("abcdefghij", row, strict=True)) for row in rows],
            weights={name: values.astype(model["dtype"]) for name, values in weights.items()},
            masks=masks,
            epoch=epochs,
            metrics={f"metric number {k}": float(value) for k, value in enumerate(rng.random(40))},
            genes=[f"gene{k:06d}" for k in range(genes)],
        )
        return writer.path.stat().st_size


def _checkpoint_bytes(shape: Mapping[str, Any], genes: int) -> int:
    """Weights, both moments and the kept model, all dense, and the history."""
    weights = family_of_spec(shape["model"]).bytes(shape["model"], genes)
    return int(4.2 * weights) + 100 * int(shape["epochs"]) + 20_000


def _blocks(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _too_few(free: FreeSpace, files: int) -> bool:
    return free.files is not None and free.files < files


def _with_note(found: Forecast, note: str) -> Forecast:
    return replace(found, notes=(*found.notes, note))
