"""A short training run of genome size in a process of its own; prints peak memory as JSON. Imports no torch itself.

    python benchmarks/genome_run.py none|dash|structured [genes hidden]

Two epochs of 170 pairs in batches of 16 through the trainer, validation included, with dash an event between them; then
the evaluation against a reference network.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import resource
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from pseudotime import pseudotime_data

from dash_hpc.evaluation import evaluate
from dash_hpc.study import load_study, plan
from dash_hpc.training import Trainer

ROOT = Path(__file__).resolve().parents[1]


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    try:  # ru_maxrss begins with what the parent had when it started this process
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(strategy: str, genes: int, hidden: int) -> None:
    study = load_study(
        ROOT / "examples" / "sim350.toml",
        [
            "sweep.seeds=[0]", f"model.hidden={hidden}", "training.epochs=2", "training.batch=single",
            "training.batch_size=16", "training.lr=1e-4", "schedule.first_epoch=2",
        ],
    )  # fmt: skip
    dataset, _ = pseudotime_data(genes)
    options = {"lambda_ppi": 0.05, "lambda_motif": 0.01} if strategy == "dash" else {}
    spec = {**plan(study, "")[0].spec, "strategy": {"name": strategy, **options}}
    dataset = replace(dataset, truth=dataset.prior.motif)
    fit = Trainer(dataset, spec).fit()
    training = peak_bytes()
    metrics = evaluate(fit.kept.weights, fit.kept.masks, dataset, solver=spec["solver"])
    if fit.epoch != 2 or not np.isfinite([fit.kept.validation_mse, metrics["balanced_accuracy"]]).all():
        raise SystemExit("the run did not end with finite results")
    print(json.dumps({"training_bytes": training, "run_bytes": peak_bytes(), "torch": "torch" in sys.modules}))


if __name__ == "__main__":
    main(sys.argv[1], *(int(argument) for argument in sys.argv[2:] or (11_165, 300)))
