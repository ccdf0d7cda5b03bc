"""A whole run of SIM350 (examples/sim350.toml, DASH, 200 epochs) against the authors' time per epoch x 200.

Ours is measured whole, through the worker that `dash-hpc run` uses: data set, training, validation, pruning events,
checkpoints, run file, evaluation, kept network; at the default tolerance and at the published one. Another row is the
command `dash-hpc run` itself, from the start of Python to the report.

Of the authors' program one training step is measured (train_step.py: a call of the adjoint method for each pair and the
pass of 10,000 prior points whose weight is 0; rtol 1e-7, atol 1e-9), in the same process, before and after ours, with
the weights of our run at the start (dense) and those it keeps. Multiplied is the fastest of all, x 140 trajectories x
200 epochs. Their validation, events and data loading are left out, to their favour.

Results of both tolerances stand beside the times. What is claimed is the ratio at the default tolerance: 300 or more.

    DASH_HPC_DATA=… python benchmarks/whole_run.py [--repeats 2] [--epochs 200] [--out …/whole_run.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import ROOT, parser, publish
from train_step import Problem

from dash_hpc import open_store
from dash_hpc.data import build
from dash_hpc.execution.study_run import prepare
from dash_hpc.execution.work.one_run import run_one
from dash_hpc.ops import SolverOptions
from dash_hpc.store import RunRecord
from dash_hpc.study import Study, load_study, plan
from dash_hpc.training import Trainer

PUBLISHED = {"rtol": 1e-7, "atol": 1e-9}
DEFAULT = {"rtol": SolverOptions().rtol, "atol": SolverOptions().atol}
BAR = 300.0
RESULTS = ("balanced_accuracy", "sparsity", "test_mse", "validation_mse")


def study(tolerance: dict[str, float], epochs: int) -> Study:
    """The DASH runs of examples/sim350.toml, one seed."""
    settings = [f"solver.{key}={value}" for key, value in tolerance.items()]
    return load_study(ROOT / "examples" / "sim350.toml", [*settings, f"training.epochs={epochs}", "sweep.seeds=[0]"])


def whole_run(tolerance: dict[str, float], epochs: int, folder: Path) -> tuple[float, RunRecord]:
    """Seconds of one run through the worker, and its record in the store."""
    prepare(study(tolerance, epochs), folder)
    store = open_store(folder)
    run_id = next(key for key in store.planned if store.spec(key)["strategy"]["name"] == "dash")
    began = time.perf_counter()
    status = run_one(str(folder), run_id)
    seconds = time.perf_counter() - began
    if status != "done":
        raise SystemExit(f"the run ended as {status}: {open_store(folder).record(run_id).reason}")
    return seconds, open_store(folder).record(run_id)


def command(epochs: int, folder: Path) -> float:
    """Seconds of `dash-hpc run` for a study of that one run, one process, report included."""
    text = study(DEFAULT, epochs).to_toml()
    tables = text.split("[[strategy]]")
    dash = [table for table in tables[1:] if '"dash"' in table]
    (folder / "one.toml").write_text("[[strategy]]".join([tables[0], *dash]))
    program = "from dash_hpc.cli import main; main()"
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", program, "run", "one.toml", "--workers", "1", "--output", "results"],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    if open_store(folder / "results").counts()["done"] != 1:
        raise SystemExit("dash-hpc run did not end with one run done")
    return seconds


class Authors:
    """Their training step on the first trajectory of SIM350."""

    def __init__(self, spec: dict[str, Any]) -> None:
        dataset = build(spec["data"], seed=spec["seed"], base=ROOT)
        pairs = dataset.train.pairs()
        self.steps = len(np.unique(pairs.trajectory))
        chosen = pairs.trajectory == pairs.trajectory[0]
        self.data = (
            pairs.y0[chosen].astype(np.float32),
            pairs.y1[chosen].astype(np.float32),
            (pairs.t1 - pairs.t0)[chosen].astype(np.float64),
        )
        state = Trainer(dataset, spec).state
        self.problems = [self.problem(state.weights, state.masks)]

    def problem(self, weights: dict[str, np.ndarray], masks: dict[str, np.ndarray]) -> Problem:
        made = Problem(weights, masks, *self.data)
        made.native(), made.authors()
        if not abs(made.losses["native"] - made.losses["authors"]) < 2e-6:
            raise SystemExit(f"losses of one step differ: {made.losses}")
        return made

    def seconds(self, repeats: int) -> list[float]:
        """Seconds of a step, by turns with the weights of each problem."""
        return [problem.authors() for _ in range(repeats) for problem in self.problems]


def main() -> None:
    made = parser(__doc__, repeats=2)
    made.add_argument("--epochs", type=int, default=200, help="for trials; what is published has 200")
    options = made.parse_args()
    torch.set_num_threads(1)
    authors = Authors(next(run.spec for run in plan(study(PUBLISHED, 1), "") if run.spec["strategy"]["name"] == "dash"))
    times: dict[str, list[float]] = {"authors' step": authors.seconds(3)}
    records: dict[str, RunRecord] = {}
    for repeat in range(options.repeats):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for what, tolerance in (("run, default", DEFAULT), ("run, published", PUBLISHED)):
                if repeat and tolerance is PUBLISHED:
                    continue
                seconds, records[what] = whole_run(tolerance, options.epochs, folder / what.split()[-1])
                times.setdefault(what, []).append(seconds)
            times.setdefault("dash-hpc run", []).append(command(options.epochs, folder))
        if not repeat:
            network = records["run, default"].network
            authors.problems.append(authors.problem(network.weights, network.masks))
        times["authors' step"] += authors.seconds(3)
    step = min(times["authors' step"])
    theirs = step * authors.steps * options.epochs
    print(
        f"authors: {1e3 * step:.1f} ms per step (the least), "
        f"x {authors.steps} steps x {options.epochs} epochs = {theirs:.0f} s"
    )
    rows = []
    for what, values in times.items():
        record = records.get(what)
        tolerance = {"run, default": DEFAULT, "dash-hpc run": DEFAULT}.get(what, PUBLISHED)
        rows.append(
            {
                "what": what,
                **tolerance,
                "min_s": min(values),
                "median_s": float(np.median(values)),
                "authors_over": None if what.startswith("authors") else theirs / float(np.median(values)),
                "bar": BAR if what == "run, default" else None,
                **({} if record is None else {name: record.metrics[name] for name in RESULTS}),
                **({} if record is None else {"kept_epoch": record.epoch, "timing": record.timing}),
            }
        )
    rows[0] |= {"steps_per_epoch": authors.steps, "epochs": options.epochs, "whole_s": theirs}
    columns = {
        "what": "s", "rtol": ".0e", "min_s": ".3f", "median_s": ".3f", "authors_over": ".0f", "bar": ".0f",
        "balanced_accuracy": ".3f", "sparsity": ".3f", "test_mse": ".3e", "validation_mse": ".3e",
    }  # fmt: skip
    publish("whole_run", rows, columns, options.out, options.repeats)


if __name__ == "__main__":
    main()
