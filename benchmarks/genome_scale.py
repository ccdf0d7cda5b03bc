"""Genome scale: 11,165 genes, 300 hidden units per branch, 16 pairs; float32, rtol 1e-7, atol 1e-9 for all.

A training step of the native operator with all, 14 % and 5 % of the weights active, alternating with torchdiffeq on the
dense weights: the 16 pairs in one batch with autograd (one step size for all, another meaning), and the adjoint method.
Of the latter, which the authors' program calls once per pair, ONE pair is measured (interval 2, the mean is 2.25),
forward, backward and Adam, and multiplied by 16. Losses are compared before time.

Peak memory is that of a fresh process (genome_run.py): two epochs through the trainer, with validation, and for DASH
with a pruning event.

Bars: the step at least 100 times as fast as the adjoint loop, at least 8 times faster with 5 % than dense; peak memory
below 1.5 GB.

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
from common import alternate, parser, publish, random_problem
from torchdiffeq import odeint_adjoint
from train_step import TOLERANCE, Field, Problem

from dash_hpc.models import Phoenix

PAIRS, ACTIVE, STEPS = 16, (1.0, 0.14, 0.05), 4
BARS = {"over_adjoint": 100.0, "dense_over_sparse": 8.0, "peak_gb": 1.5}


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


def main() -> None:
    made = parser(__doc__, repeats=3)
    made.add_argument("--genes", type=int, default=11_165)
    made.add_argument("--hidden", type=int, default=300)
    options = made.parse_args()
    torch.set_num_threads(1)
    size = options.genes, options.hidden
    memory = {strategy: peak_memory(strategy, *size) for strategy in ("none", "dash")}

    problems = {active: Problem(*random_problem(*size, active, PAIRS), steps=STEPS) for active in ACTIVE}
    dense = problems[1.0]
    loop = Loop(dense)
    first_pair = Problem(dense.weights, dense.masks, dense.y0[:1], dense.y1[:1], dense.dt[:1], steps=1)
    contenders: dict[str, Callable[[], float]] = {
        **{f"native, {active:.0%} active": problem.native for active, problem in problems.items()},
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
    base = float(np.median(times["native, 100% active"]))
    rows = [
        {
            "what": name,
            "pairs": PAIRS,
            "min_ms": 1e3 * min(values),
            "median_ms": 1e3 * float(np.median(values)),
            "adjoint_over": min(adjoint) / float(np.median(values)),
            "batched_over": float(np.median(times["torchdiffeq, one batch"]) / np.median(values)),
            "dense_over": base / float(np.median(values)),
        }
        for name, values in times.items()
    ]
    rows.append(
        {
            "what": "adjoint loop (1 pair x 16)",
            "pairs": PAIRS,
            "min_ms": 1e3 * min(adjoint),
            "median_ms": 1e3 * float(np.median(adjoint)),
            "adjoint_over": 1.0,
        }
    )
    rows[0] |= {"bar": f"adjoint_over {BARS['over_adjoint']:.0f}"}
    rows[len(ACTIVE) - 1] |= {"bar": f"dense_over {BARS['dense_over_sparse']:.0f}"}
    rows += [
        {"what": f"run, {name}", "peak_gb": found["peak_bytes"] / 1e9, **found, "bar": f"peak_gb < {BARS['peak_gb']}"}
        for name, found in memory.items()
    ]
    columns = {
        "what": "s", "min_ms": ",.1f", "median_ms": ",.1f", "adjoint_over": ".1f", "batched_over": ".1f",
        "dense_over": ".1f", "peak_gb": ".3f", "bar": "s",
    }  # fmt: skip
    publish("genome_scale", rows, columns, options.out)


if __name__ == "__main__":
    main()
