"""The store with 10,000 finished runs, and what history and checkpoints cost a fit.

    python benchmarks/store.py [--runs 10000]

First every figure's answer is checked, then it is timed. Claims (docs/store.md): status within 2 s, reindex within
60 s, a query by field within 1 s, fewer than 50 files after compact; writing history and checkpoints takes at most
3 % of a fit's time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dash_hpc.ids import spec_id
from dash_hpc.store import (
    RunWriter,
    compact,
    open_store,
    publish,
    publish_sealed_text,
    rebuild_index,
    verify,
    write_plan,
)


class _NoSync(publish.FileLayer):
    """The records are made before anything is measured; nobody needs them after a power loss."""

    def sync(self, descriptor: int) -> None:
        pass

    def sync_folder(self, path: Path) -> None:
        pass


def make_store(folder: Path, count: int) -> None:
    """Write ``count`` finished runs of 200 epochs, 60 genes and 20 hidden units."""
    rng = np.random.default_rng(0)
    shapes = dict.fromkeys(("W_sums", "W_prods"), (20, 60)) | dict.fromkeys(("U_sums", "U_prods"), (60, 20))
    masks = {name: rng.random(shape) < 0.1 for name, shape in shapes.items()}
    weights = {name: np.where(mask, rng.standard_normal(mask.shape), 0).astype("f4") for name, mask in masks.items()}
    weights |= {"b_sums": rng.random(20, "f4"), "b_prods": rng.random(20, "f4"), "v": rng.random(60, "f4")}
    history = {"epoch": np.arange(1, 201), **{f"column{k}": rng.random(200) for k in range(9)}}
    events = [{"epoch": 10 * k, "tensor": name, "n_pruned": 5, "threshold": 0.1} for k in range(20) for name in shapes]
    metrics = {f"metric{k}": 0.0 for k in range(30)}
    base = {
        "data": {"kind": "simulate", "genes": 60},
        "data_digest": "",
        "model": {"hidden": 20, "dtype": "float32"},
        "training": {"epochs": 200},
    }
    lambdas = np.linspace(0, 1, 10).tolist()
    specs = [
        {**base, "strategy": {"name": "dash", "lambda_ppi": lambdas[k % 10], "lambda_motif": 0.1}, "seed": k // 10}
        for k in range(count)
    ]
    ids = [spec_id(spec) for spec in specs]
    write_plan(folder, list(zip(ids, specs, strict=True)), study="large", base=Path("/"))
    publish_sealed_text(folder / "study.toml", '[study]\nname = "large"\n')
    for run_id, spec in zip(ids, specs, strict=True):
        RunWriter(folder, run_id, spec, {"host": "here"}).finish(
            history=history,
            events=events,
            weights=weights,
            masks=masks,
            epoch=200,
            metrics={**metrics, "validation_mse": float(rng.random()), "sparsity": 0.9},
            genes=[f"gene{k}" for k in range(60)],
            stop_reason="epochs",
        )


class Seconds(float):
    """Wall clock, with the processor time of this process and its children: on a busy machine the two part."""

    cpu = 0.0


def timed(function: Callable[[], Any]) -> tuple[Seconds, Any]:
    """Return seconds and result."""
    began, cpu = time.perf_counter(), _cpu()
    result = function()
    seconds = Seconds(time.perf_counter() - began)
    seconds.cpu = _cpu() - cpu
    return seconds, result


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def status_command(folder: Path) -> dict[str, Any]:
    """Run ``dash-hpc status --json`` in a process of its own."""
    command = [sys.executable, "-m", "dash_hpc", "status", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def query(folder: Path) -> int:
    """Open the store and count the runs of one λ with a small validation error."""
    runs = open_store(folder).runs
    return int(((runs["lambda_ppi"] == 0.0) & (runs["validation_mse"] < 0.5)).sum())


def count_files(folder: Path) -> int:
    """Count the regular files of a folder."""
    return sum(path.is_file() for path in folder.rglob("*"))


def measure(folder: Path, count: int) -> bool:
    """Measure, print, and return whether all claims hold."""
    lines = []

    def claim(name: str, value: float, limit: float, unit: str) -> None:
        lines.append(value <= limit)
        cpu = f", processor {value.cpu:.2f} s" if isinstance(value, Seconds) else ""
        print(f"{name:<44} {value:10.2f} {unit:<6} (at most {limit:g}): {'ok' if value <= limit else 'MISSED'}{cpu}")

    seconds, _ = timed(lambda: make_store(folder, count))
    print(f"made {count} finished runs in {seconds:.0f} s: {count_files(folder)} files")
    seconds, rows = timed(lambda: rebuild_index(folder))
    if rows != count:
        raise SystemExit(f"the index has {rows} of {count} runs")
    claim("reindex, own files", seconds, 60, "s")
    expected = query(folder)
    for form in ("own files", "bundles"):
        if form == "bundles":
            seconds, done = timed(lambda: compact(folder))
            print(f"compact: {seconds:.0f} s, {done.bundles} bundles, {done.files_removed} files removed")
            claim("files after compact", count_files(folder), 49, "files")
            seconds, found = timed(lambda: verify(folder))
            if found.damaged or found.done != count:
                raise SystemExit(f"verify finds {found.done} of {count} runs, damaged: {found.damaged}")
            print(f"verify, bundles: {seconds:.0f} s")
            seconds, rows = timed(lambda: rebuild_index(folder))
            claim("reindex, bundles", seconds, 60, "s")
        if status_command(folder)["runs"]["done"] != count or query(folder) != expected:
            raise SystemExit(f"status or query gives another answer with {form}")
        claim(
            f"status (whole command), {form}", min(timed(lambda: status_command(folder))[0] for _ in range(3)), 2, "s"
        )
        claim(
            f"query by field (open and select), {form}", min(timed(lambda: query(folder))[0] for _ in range(3)), 1, "s"
        )
    return all(lines)


STUDY = """
[study]
name = "overhead"
[data]
kind = "simulate"
genes = 350
regulators = 60
edges = 800
trajectories = 40
test_trajectories = 2
[model]
hidden = 40
[training]
epochs = {epochs}
early_stop = 0
[sweep]
seeds = [0]
[[strategy]]
name = "dash"
lambda_ppi = 0.5
lambda_motif = 0.1
"""


def overhead(place: Path, seconds: float) -> tuple[float, float]:
    """Train one run of about ``seconds`` as a worker does; return seconds of the fit and of writing in it."""
    from dash_hpc.execution.work.one_run import run_one
    from dash_hpc.execution.work.probe import probe
    from dash_hpc.store.checkpoint import CheckpointFile
    from dash_hpc.study import load_study, plan
    from dash_hpc.training import phases

    def runs_of(epochs: int) -> tuple[Any, Any]:
        (place / "study.toml").write_text(STUDY.format(epochs=epochs))
        study = load_study(place / "study.toml")
        return study, plan(study, "")

    study, runs = runs_of(100)
    epoch = probe([runs[0].spec], str(study.base), 10.0)["strategies"]["dash"]["seconds"] / 100
    study, runs = runs_of(max(20, int(seconds / epoch)))
    folder = place / "out"
    write_plan(folder, [(runs[0].id, runs[0].spec)], study=study.name, base=study.base)
    spent = [0.0]

    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                spent[0] += time.perf_counter() - began

        return count

    places: list[tuple[Any, str]] = [(RunWriter, "update"), (CheckpointFile, "save"), (phases, "capture")]
    originals = [getattr(owner, name) for owner, name in places]
    for (owner, name), original in zip(places, originals, strict=True):
        setattr(owner, name, counting(original))
    try:
        status = run_one(str(folder), runs[0].id)
    finally:
        for (owner, name), original in zip(places, originals, strict=True):
            setattr(owner, name, original)
    if status != "done":
        raise SystemExit(f"the run ended as {status}")
    record = open_store(folder).record(runs[0].id)
    return sum(record.history["seconds"]) + spent[0], spent[0]


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--fit-seconds", type=float, default=90.0, help="length of the fit for the cost of writing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dash-hpc-store-") as place:
        fit, spent = overhead(Path(place), options.fit_seconds)
        share = 100 * spent / fit
        print(f"history and checkpoints of a fit of {fit:.0f} s: {spent:.2f} s, {share:.2f} % (at most 3 %)")
        real, publish.layer = publish.layer, _NoSync()
        folder = Path(place) / "large"
        try:
            good = measure(folder, options.runs)
        finally:
            publish.layer = real
    return 0 if good and share <= 3 else 1


if __name__ == "__main__":
    sys.exit(main())
