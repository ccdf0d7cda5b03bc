"""Strategy evidence on a large data set, in a process of its own; prints seconds by stage and peak memory as JSON.

    python benchmarks/evidence_run.py simulated GENES REGULATORS TRAJECTORIES CANDIDATES
    python benchmarks/evidence_run.py pseudotime GENES EDGES_PER_GENE 1 CANDIDATES
    python benchmarks/evidence_run.py breast_500|breast_2000 0 0 1 CANDIDATES

From the data in memory to the model's tensors. Seconds are those of the processor. Imports no torch.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pseudotime
from genome_run import peak_bytes

from dash_hpc.data import DataSet, build
from dash_hpc.evidence import model, rounds
from dash_hpc.evidence.decide import EvidenceOptions
from dash_hpc.evidence.finding import find_network
from dash_hpc.models.phoenix.assemble import assemble
from dash_hpc.rng import stream
from dash_hpc.study import load_study, plan

ROOT = Path(__file__).resolve().parents[1]
NOISE, EDGES_PER_GENE = 0.025, 1.6
#: What :mod:`dash_hpc.evidence.rounds` and ``model`` call, by stage.
STAGES = {
    "estimate_noise": "first courses", "relax": "first courses", "_beginning": "candidates", "select": "evidence",
    "update_rates": "rates", "smooth": "smoothing", "fit_drives": "fit",
}  # fmt: skip


def data_of(layout: str, genes: int, size: int, trajectories: int) -> DataSet:
    """A simulated network of ``size`` regulators, a pseudotime with as many listed edges per gene, published data."""
    if layout == "simulated":
        return build(
            {
                "kind": "simulate", "genes": genes, "regulators": size, "edges": round(EDGES_PER_GENE * genes),
                "trajectories": trajectories + 1, "test_trajectories": 0, "times": [0.0, 2.0, 3.0, 7.0, 9.0],
                "seed": 2026, "validation": 1 / (trajectories + 1), "expression_noise": NOISE, "prior_noise": 0.05,
            },
            seed=0, base=Path(),
        )  # fmt: skip
    if layout == "pseudotime":
        pseudotime.EDGES_PER_GENE = size
        dataset, _ = pseudotime.pseudotime_data(genes)
        return replace(dataset, train=dataset.train.with_noise(NOISE, stream(0, "benchmark-evidence-genome")))
    study = load_study(ROOT / "examples" / "sim350.toml", [f"data.name={layout}", "data.expression_noise=0"])
    return build(plan(study, "")[0].spec["data"], seed=0, base=Path())


def timed(seconds: dict[str, float], module: Any, name: str) -> None:
    """Count the processor's time of a module's function to its stage, less what is counted inside it."""
    inner: Callable[..., Any] = getattr(module, name)

    def outer(*arguments: Any, **options: Any) -> Any:
        began, before = time.process_time(), sum(seconds.values())
        found = inner(*arguments, **options)
        seconds[STAGES[name]] += time.process_time() - began - (sum(seconds.values()) - before)
        return found

    setattr(module, name, outer)


def main(layout: str, genes: int, size: int, trajectories: int, candidates: int) -> None:
    dataset = data_of(layout, genes, size, trajectories)
    loaded = peak_bytes()
    seconds: dict[str, float] = defaultdict(float)
    for name in STAGES:
        for module in (rounds, model):
            if hasattr(module, name):
                timed(seconds, module, name)
    began, wall = time.process_time(), time.perf_counter()
    found = find_network(dataset, EvidenceOptions(candidates=candidates))
    fitted = model.fit_model(found.reading, found.ledger, found.decision)
    assemble(fitted.drives, fitted.rates, np.float32)
    total, wall = time.process_time() - began, time.perf_counter() - wall
    state = found.reading.state
    points = max(len(course.times) for course in dataset.train.trajectories)
    row = {
        "layout": layout,
        "genes": dataset.n_genes,
        "moving": len(state.targets),
        "trajectories": len(dataset.train.trajectories),
        "points": points,
        "listed": len(state.edges),
        "regulators": int((state.edges.out_degrees() > 0).sum()),
        "asked": candidates,
        "looked_at": float(np.mean([len(target.candidates) for target in state.targets.values()])),
        "rounds": len(found.reading.rounds),
        "seconds": dict(seconds),
        "total": total,
        "wall": wall,
        "data_bytes": loaded,
        "peak_bytes": peak_bytes(),
        "taken": int(found.decision.taken.sum()),
        "notes": list(found.notes),
    }
    if dataset.truth is not None and layout == "simulated":
        taken = found.decision.taken
        right = np.asarray(dataset.truth.tocsr()[found.ledger.regulator[taken], found.ledger.target[taken]]).ravel()
        row["precision"] = float((right != 0).mean())
        row["tpr"] = float((right != 0).sum() / dataset.truth.nnz)
    print(json.dumps(row | {"torch": "torch" in sys.modules}))


if __name__ == "__main__":
    main(sys.argv[1], *(int(argument) for argument in sys.argv[2:6]))
