"""Genome scale: 11,165 genes, 300 hidden units per branch, 16 pairs; float32, rtol 1e-7, atol 1e-9 for all.

A training step of the native operator with all, 14 % and 5 % of the weights active, alternating with torchdiffeq on the
dense weights: the 16 pairs in one batch with autograd (one step size for all, another meaning), and the adjoint method.
Of the latter, which the authors' program calls once per pair, ONE pair is measured (interval 2, the mean is 2.25),
forward, backward and Adam, and multiplied by 16. Losses are compared before time.

Born-sparse models have compressed weights from the start: m = regulators + genes, of one unit per regulator and one per
gene. One of 12,000 hidden units and 100,000 active weights stands beside the dense step; one of 350 genes, 470 hidden
units and 2,200 active weights beside 350 x 40 with 14 % active, 4 pairs each. Their losses are compared with those of
a solve with SciPy's sparse products (DOP853 at the same tolerance, first pairs).

Peak memory is that of a fresh process (genome_run.py): two epochs through the trainer, with validation, and for DASH
with a pruning event; "structured" has the prior's 45,000 edges as compressed weights. "With evaluation" is the peak
after the kept model was compared with a reference network as well.

Bars: the step at least 100 times as fast as the adjoint loop, at least 8 times faster with 5 % than dense, 10 times
faster born sparse; 350 genes born sparse no dearer than 14 % of 350 x 40; peak memory below 1.5 GB, and below 0.5 GB
born sparse.

    python benchmarks/genome_scale.py [--repeats 3] [--genes 11165 --hidden 300] [--out …/genome_scale.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import alternate, born_sparse_problem, parser, publish, random_problem
from scipy.integrate import solve_ivp
from torchdiffeq import odeint_adjoint
from train_step import TOLERANCE, Field, Problem

from dash_hpc.models import Phoenix
from dash_hpc.ops import PRUNABLE, solve_arrays

PAIRS, ACTIVE, STEPS = 16, (1.0, 0.14, 0.05), 4
RUNS = {"none": 1.5, "dash": 1.5, "structured": 0.5}  # strategies and the most that their run may take, GB


class Loop:
    """The adjoint method on one pair, with Adam on all weights as an optimiser step has it."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.loss = problem, float("nan")
        self.model = Phoenix(problem.weights)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=1e-6)

    def __call__(self) -> float:
        """Seconds of 16 pairs: one pair x 16, and one step of Adam."""
        y0, y1 = (torch.from_numpy(values[:1]) for values in (self.problem.y0, self.problem.y1))
        times = torch.tensor([0.0, self.problem.dt[0]])
        self.optimiser.zero_grad()
        began = time.perf_counter()
        end = odeint_adjoint(Field(self.model), y0, times, **TOLERANCE)[-1]
        loss = (end - y1).square().mean()
        loss.backward()
        pair = time.perf_counter() - began
        self.optimiser.step()
        whole = time.perf_counter() - began
        self.loss = loss.item()
        return PAIRS * pair + (whole - pair)


def peak_memory(strategy: str, genes: int, hidden: int) -> dict[str, Any]:
    """What genome_run.py says."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("genome_run.py")), strategy, str(genes), str(hidden)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout))


def check_sparse(problem: Problem, pairs: int) -> None:
    """Compare the native end states of the first pairs with a solve that uses SciPy's sparse products."""
    w = {name: value.astype(np.float64) for name, value in problem.weights.items()}
    rate = np.maximum(w["v"], 0)

    def rhs(_: float, y: np.ndarray) -> np.ndarray:
        sums = (y - 0.5) / (1 + np.abs(y - 0.5))
        first = w["W_sums"] @ sums + w["b_sums"]
        second = np.exp(w["W_prods"] @ np.log1p(sums) + w["b_prods"])
        return rate * (w["U_sums"] @ first + w["U_prods"] @ second - y)

    found = solve_arrays(problem.weights, problem.y0[:pairs], problem.dt[:pairs], solver=TOLERANCE)
    for pair in range(pairs):
        span = (0.0, problem.dt[pair])
        wanted = solve_ivp(rhs, span, problem.y0[pair].astype(np.float64), method="DOP853", **TOLERANCE).y[:, -1]
        if not (found.ok[pair] and np.abs(found.y1[pair] - wanted).max() < 1e-5):
            raise SystemExit(f"born sparse, pair {pair}: the native solve differs from SciPy's")


def row(name: str, seconds: list[float], **more: Any) -> dict[str, Any]:
    return {"what": name, "min_ms": 1e3 * min(seconds), "median_ms": 1e3 * float(np.median(seconds)), **more}


def small_rows(repeats: int) -> list[dict[str, Any]]:
    """350 genes, 4 pairs: born sparse beside the pruned model of 40 hidden units."""
    born = Problem(*born_sparse_problem(350, 120, 2_200, 4))
    check_sparse(born, 4)
    pruned = Problem(*random_problem(350, 40, 0.14, 4))
    contenders = {"350 genes, 40 hidden, 14% active": pruned.native, "350 genes, 470 hidden, 2,200 born": born.native}
    for step in contenders.values():
        step()
    times = alternate(contenders, 5 * repeats)
    base, other = (float(np.median(values)) for values in times.values())
    first, second = (row(name, values, pairs=4) for name, values in times.items())
    return [first, {**second, "times_14": other / base, "bar": "times_14 <= 1"}]


def main() -> None:
    made = parser(__doc__, repeats=3)
    made.add_argument("--genes", type=int, default=11_165)
    made.add_argument("--hidden", type=int, default=300)
    options = made.parse_args()
    torch.set_num_threads(1)
    size = options.genes, options.hidden
    memory = {strategy: peak_memory(strategy, *size) for strategy in RUNS}

    problems = {active: Problem(*random_problem(*size, active, PAIRS), steps=STEPS) for active in ACTIVE}
    dense = problems[1.0]
    born = Problem(*born_sparse_problem(size[0], round(0.0748 * size[0]), round(8.9566 * size[0]), PAIRS), steps=STEPS)
    check_sparse(born, 2)
    loop = Loop(dense)
    first_pair = Problem(dense.weights, dense.masks, dense.y0[:1], dense.y1[:1], dense.dt[:1], steps=1)
    entries = sum(born.weights[name].nnz for name in PRUNABLE)
    born_name = f"native, {born.weights['b_sums'].size:,} hidden, {entries:,} born"
    contenders: dict[str, Callable[[], float]] = {
        **{f"native, {active:.0%} active": problem.native for active, problem in problems.items()},
        born_name: born.native,
        "torchdiffeq, one batch": dense.batched,
    }
    for step in (*contenders.values(), first_pair.native):
        step()  # warm-up, and the losses
    adjoint = [loop()]
    for name, one, two in (
        ("one batch", dense.losses["batched"], dense.losses["native"]),
        ("adjoint", loop.loss, first_pair.losses["native"]),
    ):
        if not abs(one - two) < 2e-6 * max(1.0, two):
            raise SystemExit(f"losses differ: native {two}, {name} {one}")
    times = alternate(contenders, options.repeats)
    adjoint.append(loop())
    medians = {name: float(np.median(values)) for name, values in times.items()}
    bars = {
        "native, 100% active": "adjoint_over >= 100",
        "native, 5% active": "dense_over >= 8",
        born_name: "dense_over >= 10",
    }
    rows = [
        row(
            name,
            values,
            pairs=PAIRS,
            adjoint_over=min(adjoint) / medians[name],
            batched_over=medians["torchdiffeq, one batch"] / medians[name],
            dense_over=medians["native, 100% active"] / medians[name],
            bar=bars.get(name),
        )
        for name, values in times.items()
    ]
    rows.append(row("adjoint loop (1 pair x 16)", adjoint, pairs=PAIRS, adjoint_over=1.0))
    rows += small_rows(options.repeats)
    rows += [
        {
            "what": f"run, {name}",
            "peak_gb": found["training_bytes"] / 1e9,
            "with_evaluation_gb": found["run_bytes"] / 1e9,
            "bar": f"peak_gb < {RUNS[name]}",
        }
        for name, found in memory.items()
    ]
    columns = {
        "what": "s", "pairs": "d", "min_ms": ",.2f", "median_ms": ",.2f", "adjoint_over": ".1f", "batched_over": ".1f",
        "dense_over": ".1f", "times_14": ".2f", "peak_gb": ".3f", "with_evaluation_gb": ".3f", "bar": "s",
    }  # fmt: skip
    publish("genome_scale", rows, columns, options.out, options.repeats)


if __name__ == "__main__":
    main()
