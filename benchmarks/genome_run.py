"""A short training run of genome size in a process of its own; prints its peak memory as JSON. Imports no torch itself.

    python benchmarks/genome_run.py none|dash|structured [genes hidden]

Two epochs of 170 pairs in batches of 16 through the trainer, validation included; with dash an event between them.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import resource
import sys
from pathlib import Path

import numpy as np
from pseudotime import pseudotime_data

from dash_hpc.study import load_study, plan
from dash_hpc.training import Trainer

ROOT = Path(__file__).resolve().parents[1]


def main(strategy: str, genes: int, hidden: int) -> None:
    study = load_study(
        ROOT / "examples" / "sim350.toml",
        [
            "sweep.seeds=[0]", f"model.hidden={hidden}", "training.epochs=2", "training.batch=single",
            "training.batch_size=16", "training.lr=1e-4", "schedule.first_epoch=2",
        ],
    )  # fmt: skip
    dataset, _ = pseudotime_data(genes)
    spec = {**plan(study, "")[0].spec, "strategy": {"name": strategy}}
    fit = Trainer(dataset, spec).fit()
    if fit.epoch != 2 or fit.kept is None or not np.isfinite(fit.kept.validation_mse):
        raise SystemExit("the run did not train")
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    json.dump(
        {"peak_bytes": peak, "torch": "torch" in sys.modules, "sparsity": fit.history["sparsity"][-1]}, sys.stdout
    )


if __name__ == "__main__":
    main(sys.argv[1], *(int(argument) for argument in sys.argv[2:] or (11_165, 300)))
