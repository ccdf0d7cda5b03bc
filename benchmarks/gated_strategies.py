"""Time per epoch of the strategies with gates, thresholds and penalties, against that of DASH: SIM350, one thread.

Runs of examples/sim350.toml that differ in their strategy alone take their epochs in turns, each from its own start and
with its own validation. "of the dense ones" compares with the run that is never pruned; DASH's epochs get cheaper with
the weights that it removes. The solver takes as many steps as a model's dynamics need, so that evaluations of the
right-hand side stand beside the times.

    DASH_HPC_DATA=… python benchmarks/gated_strategies.py [--repeats 14] [--out gated_strategies.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import parser, publish, sim350_spec

from dash_hpc.data import DataSet, build
from dash_hpc.training import Trainer
from dash_hpc.training.work import do_alone

BAR = 1.5  # of DASH's time per epoch
STRATEGIES: dict[str, dict[str, Any]] = {
    "dash": {"name": "dash", "lambda_ppi": 0.05, "lambda_motif": 0.01},
    "none": {"name": "none"},
    "l0": {"name": "l0"},
    "l0, the paper's start": {"name": "l0", "init": "paper"},
    "pathreg": {"name": "pathreg"},
    "pathreg, the paper's start": {"name": "pathreg", "init": "paper"},
    "cnode": {"name": "cnode"},
    "cnode, proximal": {"name": "cnode", "prox_threshold": 0.1},
    "dst": {"name": "dst"},
    "dst, the family's start": {"name": "dst", "init": "family"},
}


def epochs(strategy: dict[str, Any], dataset: DataSet, number: int) -> Iterator[tuple[float, int, float]]:
    """Give the seconds of each epoch, its evaluations in training, and the sparsity after it."""
    spec = {**sim350_spec(0), "strategy": strategy}
    spec["training"] = {**spec["training"], "epochs": number}
    trainer = Trainer(dataset, spec)
    done: list[float] = []
    trainer.progress = lambda fit: done.append(fit.history["sparsity"][-1])
    steps, answer, evaluations = trainer.steps(), None, 0
    began = time.perf_counter()
    while True:
        try:
            task = steps.send(answer)
        except StopIteration:
            yield time.perf_counter() - began, evaluations, done[-1]
            return
        if done:
            yield time.perf_counter() - began, evaluations, done.pop()
            began, evaluations = time.perf_counter(), 0
        answer = do_alone(task)
        evaluations += int(getattr(answer, "evaluations", 0)) if not hasattr(answer, "y1") else 0


def main() -> None:
    arguments = parser(__doc__, repeats=14).parse_args()
    torch.set_num_threads(1)
    dataset = build(sim350_spec(0)["data"], seed=0, base=Path())
    runs = {name: epochs(strategy, dataset, arguments.repeats) for name, strategy in STRATEGIES.items()}
    found: dict[str, list[tuple[float, int, float]]] = {name: [] for name in runs}
    for _ in range(arguments.repeats):
        for name, run in runs.items():
            found[name].append(next(run))
    # The first epoch warms up caches.
    seconds = {name: np.array([epoch[0] for epoch in own[1:]]) for name, own in found.items()}
    rows: list[dict[str, Any]] = [
        {
            "strategy": name, "ms": 1e3 * float(np.median(seconds[name])),
            "of_dash": float(np.median(seconds[name] / seconds["dash"])),
            "of_dense": float(np.median(seconds[name] / seconds["none"])),
            "evaluations": int(np.median([epoch[1] for epoch in own[1:]])), "sparsity": own[-1][2],
        }
        for name, own in found.items()
    ]  # fmt: skip
    columns = {"strategy": "", "ms": ".0f", "of_dash": ".2f", "of_dense": ".2f", "evaluations": "d", "sparsity": ".3f"}
    publish("gated_strategies", rows, columns, arguments.out, arguments.repeats)
    if slow := [row["strategy"] for row in rows if row["of_dash"] > BAR]:
        raise SystemExit(f"above {BAR} times DASH's time per epoch: {', '.join(slow)}")


if __name__ == "__main__":
    main()
