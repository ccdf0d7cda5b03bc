"""Which solver tolerance training needs: SIM350, DASH, from 1e-2/1e-4 to the published 1e-7/1e-9, five seeds.

Training amplifies rounding: runs that differ in the last bit of their initial weights end with different masks. So the
published tolerance runs several times per seed, with the last bit of every initial weight moved up or down at random,
and another tolerance passes when its runs lie no further from those than those lie from each other:

- kept weights (and those at the last epoch) as the Jaccard index of the masks: mean over seeds of J(tolerance,
  published) against J(published, published), paired t-test over seeds, one-sided;
- balanced accuracy, test MSE, validation MSE, sparsity: squared distance from the seed's mean at the published
  tolerance over the variance between its repetitions, F-test (a bias shows in it as well as more scatter).

"Differs" means p < 0.01. The default is the loosest tolerance at and below which nothing differs. About 11 minutes of
processor time; not a part of `make bench`.

    DASH_HPC_DATA=… python benchmarks/tolerance.py [--seeds 5] [--repetitions 4] [--out …/tolerance.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import parser, publish, sim350_spec
from scipy import stats

from dash_hpc.data import DataSet, build
from dash_hpc.evaluation import evaluate
from dash_hpc.ops import PRUNABLE, solve_arrays
from dash_hpc.rng import stream
from dash_hpc.training import Trainer

PUBLISHED = (1e-7, 1e-9)
TOLERANCES = ((1e-2, 1e-4), (1e-3, 1e-5), (1e-4, 1e-6), (1e-5, 1e-7), (1e-6, 1e-8), PUBLISHED)
METRICS = ("balanced_accuracy", "test_mse", "validation_mse", "sparsity")
LEVEL = 0.01


@dataclass
class Run:
    """One trained model."""

    seed: int
    values: dict[str, float]
    masks: dict[str, np.ndarray] = field(repr=False)  # "kept" and "last": all four masks in one vector

    @classmethod
    def train(cls, dataset: DataSet, tolerance: tuple[float, float], seed: int, repetition: int) -> Run:
        rtol, atol = tolerance
        spec = sim350_spec(seed, [f"solver.rtol={rtol}", f"solver.atol={atol}"])
        trainer = Trainer(dataset, spec)
        if repetition:
            move_last_bits(trainer.state.weights, seed, repetition)
        began = time.process_time()
        fit = trainer.fit()
        seconds = time.process_time() - began
        if fit.kept is None:
            raise SystemExit("a run of 0 epochs keeps no model")
        found = evaluate(fit.kept.weights, fit.kept.masks, dataset, solver=spec["solver"])
        values = {name: found[name] for name in METRICS} | {
            "kept_epoch": float(fit.kept.epoch),
            "cpu_seconds": seconds,
            "solver_rms_error": solver_error(fit.kept.weights, dataset, spec["solver"]),
        }
        masks = {
            "kept": np.concatenate([fit.kept.masks[name].ravel() for name in PRUNABLE]),
            "last": np.concatenate([trainer.state.masks[name].ravel() for name in PRUNABLE]),
        }
        return cls(seed, values, masks)


def move_last_bits(weights: dict[str, np.ndarray], seed: int, repetition: int) -> None:
    """Move each initial weight of the four matrices that is not 0 to the float above or below."""
    rng = stream(seed, "benchmark-last-bit", repetition)
    for name in PRUNABLE:
        towards = np.where(rng.random(weights[name].shape) < 0.5, -np.inf, np.inf).astype(weights[name].dtype)
        weights[name][...] = np.where(weights[name] == 0, 0, np.nextafter(weights[name], towards))


def solver_error(weights: dict[str, np.ndarray], dataset: DataSet, solver: dict[str, Any]) -> float:
    """RMS distance of predicted test states from those of float64 at 1e-10/1e-12, in units of expression."""
    if dataset.test is None:
        raise SystemExit("SIM350 has test data")
    pairs = dataset.test.pairs()
    exact = {name: value.astype(np.float64) for name, value in weights.items()}
    found = solve_arrays(weights, pairs.y0, pairs.t1 - pairs.t0, solver=solver)
    wanted = solve_arrays(exact, pairs.y0, pairs.t1 - pairs.t0, solver={"rtol": 1e-10, "atol": 1e-12})
    if not (found.ok.all() and wanted.ok.all()):
        raise SystemExit("a test pair could not be solved")
    return float(np.sqrt(np.mean(np.square(found.y1 - wanted.y1))))


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.count_nonzero(a & b) / np.count_nonzero(a | b))


def compare(runs: list[Run], published: list[Run]) -> dict[str, float]:
    """p-values and Jaccard means of one tolerance against the repetitions of the published one."""
    seeds = sorted({run.seed for run in runs})
    reference = {seed: [run for run in published if run.seed == seed] for seed in seeds}
    row: dict[str, float] = {}
    for which in ("kept", "last"):
        across, within = [], []
        for run in runs:
            peers = reference[run.seed]
            across.append(np.mean([jaccard(run.masks[which], peer.masks[which]) for peer in peers]))
            within.append(np.mean([jaccard(a.masks[which], b.masks[which]) for a, b in combinations(peers, 2)]))
        row[f"jaccard_{which}"] = float(np.mean(across))
        row[f"jaccard_{which}_noise"] = float(np.mean(within))
        row[f"p_{which}"] = float(stats.ttest_rel(across, within, alternative="less").pvalue)
    for name in METRICS:
        groups = {seed: np.array([peer.values[name] for peer in reference[seed]]) for seed in seeds}
        repetitions = len(next(iter(groups.values())))
        noise = float(np.mean([group.var(ddof=1) for group in groups.values()]))
        # the distance of a run from a mean of n has the variance (1 + 1/n) times that of a run
        distance = np.mean([(run.values[name] - groups[run.seed].mean()) ** 2 for run in runs])
        ratio = distance / (1 + 1 / repetitions) / noise
        row[f"p_{name}"] = float(stats.f.sf(ratio, len(seeds), len(seeds) * (repetitions - 1)))
    return row


def table_row(tolerance: tuple[float, float], repetition: str, runs: list[Run]) -> dict[str, Any]:
    """Means over runs; the scatter between seeds beside the two that people look at."""
    mean = {name: float(np.mean([run.values[name] for run in runs])) for name in runs[0].values}
    spread = {
        f"{name}_sd": float(np.std([run.values[name] for run in runs], ddof=1))
        for name in ("balanced_accuracy", "test_mse")
    }
    return {"rtol": tolerance[0], "atol": tolerance[1], "runs": repetition, **mean, **spread}


def main() -> None:
    made = parser(__doc__, repeats=1)
    made.add_argument("--seeds", type=int, default=5)
    made.add_argument("--repetitions", type=int, default=4, help="runs per seed at the published tolerance (default 4)")
    options = made.parse_args()
    if options.seeds < 2 or options.repetitions < 2:
        raise SystemExit("--seeds and --repetitions must be 2 or more: without a scatter nothing can be compared")
    torch.set_num_threads(1)
    results: dict[tuple[float, float], list[list[Run]]] = {tolerance: [] for tolerance in TOLERANCES}
    for seed in range(options.seeds):
        dataset = build(sim350_spec(seed)["data"], seed=seed, base=Path())
        for tolerance in TOLERANCES:
            count = options.repetitions if tolerance == PUBLISHED else 1
            runs = [Run.train(dataset, tolerance, seed, repetition) for repetition in range(count)]
            results[tolerance].append(runs)
            print(f"seed {seed}, rtol {tolerance[0]:g}: {runs[0].values}", flush=True)
    published = [run for runs in results[PUBLISHED] for run in runs]
    rows = []
    for tolerance in TOLERANCES:
        first = [runs[0] for runs in results[tolerance]]
        row = table_row(tolerance, "first", first)
        if tolerance != PUBLISHED:
            row |= compare(first, published)
            row["smallest_p"] = min(value for key, value in row.items() if key.startswith("p_"))
            row["differs"] = row["smallest_p"] < LEVEL
        rows.append(row)
    rows.append(table_row(PUBLISHED, "all", published))
    columns = {
        "rtol": ".0e", "balanced_accuracy": ".4f", "balanced_accuracy_sd": ".4f", "test_mse": ".3e",
        "test_mse_sd": ".1e", "validation_mse": ".4e", "sparsity": ".4f", "jaccard_kept": ".3f",
        "jaccard_kept_noise": ".3f", "jaccard_last": ".3f", "jaccard_last_noise": ".3f", "smallest_p": ".3g",
        "solver_rms_error": ".1e", "cpu_seconds": ".1f",
    }  # fmt: skip
    publish("tolerance", rows, columns, options.out)


if __name__ == "__main__":
    main()
