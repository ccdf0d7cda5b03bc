"""How far gradients are off: the discrete adjoint of the accepted steps alone ("before"), and with the check of its
own error (docs/numerics.md), over interval, model, state and precision.

The right values: RK4 in float64 with a stable step. A sample that was not solved counts in neither column.

    DASH_HPC_DATA=… python benchmarks/gradient.py [--out benchmarks/results/gradient.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import parser, publish, sim350_spec

from dash_hpc.data import build
from dash_hpc.models import initial_weights
from dash_hpc.ops import TENSORS, solve_arrays
from dash_hpc.ops.native import native_module
from dash_hpc.ops.trust import TRIES, shorter_steps
from dash_hpc.rng import stream
from dash_hpc.training import Trainer

NATIVE = native_module()
STATES = ("at rest", "near rest", "far")
TIMES = (1e-3, 1.0, 7.0, 60.0, 1e3, 1e4)  # times the largest v
PAIRS = 4


def gradients(
    weights: dict, y0: np.ndarray, sizes: np.ndarray, bar: np.ndarray, checked: bool
) -> tuple[np.ndarray, bool]:
    """All gradients as one vector, and whether shorter steps were taken."""
    shorter = False
    for _ in range(TRIES):
        _, found, longest = NATIVE.solve_backward(weights, y0, sizes, bar, "dopri5")
        if not checked or np.isinf(longest).all():
            break
        sizes, shorter = shorter_steps(sizes, longest), True
    return np.concatenate([np.asarray(found[name], dtype=float).ravel() for name in TENSORS]), shorter


def exact(weights: dict, y0: np.ndarray, t: float, bar: np.ndarray) -> np.ndarray:
    """The same by RK4 in float64: steps of 0.05 / the largest v, or 0.125 where those would be too many for memory."""
    weights = {name: a.astype(np.float64) for name, a in weights.items()}
    steps = max(20, int(np.ceil(t * float(weights["v"].max()) / 0.05)))
    if steps * len(weights["v"]) > 10_000_000:
        steps = int(np.ceil(0.4 * steps))
    sizes = np.full((len(y0), steps), t / steps)
    _, found, _ = NATIVE.solve_backward(weights, y0.astype(np.float64), sizes, bar.astype(np.float64), "rk4")
    return np.concatenate([found[name].ravel() for name in TENSORS])


def models(kind: str) -> list[dict[str, np.ndarray]]:
    if kind == "1 gene":
        weights = initial_weights(1, 1, stream(0, "gradient-one"), dtype=np.float64)
        return [{n: np.full(w.shape, {"U_prods": 0.5, "v": 1.0}.get(n, 0.0)) for n, w in weights.items()}]
    if kind == "20 genes":
        return [initial_weights(20, 10, stream(seed, "gradient-20"), dtype=np.float64) for seed in range(6)]
    spec = sim350_spec(0, ["training.epochs=60"])
    kept = Trainer(build(spec["data"], seed=0, base=Path()), spec).fit().kept
    return [{name: np.asarray(a, dtype=np.float64) for name, a in kept.weights.items()}]


def at(state: str, weights: dict, rng: np.random.Generator) -> np.ndarray:
    genes = len(weights["v"])
    y0 = rng.random((PAIRS, genes))
    if state == "far":
        return y0
    still = {**weights, "v": np.where(weights["v"] > 0, weights["v"].max(), 0.0)}  # the same rest, reached sooner
    y0 = solve_arrays(still, y0, np.full(PAIRS, 60 / weights["v"].max()), solver={"rtol": 1e-10, "atol": 1e-12}).y1
    return y0 + (1e-3 * rng.normal(size=y0.shape) if state == "near rest" else 0.0)


def errors(kind: str, chosen: list[dict], state: str, dtype: type) -> list[dict[str, Any]]:
    rows = []
    for reach in TIMES:
        before, after, again, samples = 0.0, 0.0, 0, 0
        for seed, model in enumerate(chosen):
            rng = stream(seed, "gradient-states", kind, state)
            y0 = at(state, model, rng).astype(dtype)
            weights = {name: a.astype(dtype) for name, a in model.items()}
            t = reach / float(weights["v"].max())
            solved = solve_arrays(weights, y0, np.full(PAIRS, t))
            bar = (2 * (solved.y1 - rng.random(y0.shape)) / y0.size).astype(dtype)
            for k in np.flatnonzero(solved.status == 0):
                one = slice(k, k + 1)
                wanted = exact(weights, y0[one], t, bar[one])
                for checked in (False, True):
                    found, shorter = gradients(weights, y0[one], solved.step_sizes[one], bar[one], checked)
                    error = float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
                    error = error if np.isfinite(error) else np.inf
                    before, after = (before, max(after, error)) if checked else (max(before, error), after)
                    again += shorter
                samples += 1
        if samples:
            rows.append({"model": kind, "state": state, "dtype": np.dtype(dtype).name, "reach": reach,
                         "before": before, "after": after, "shorter": again / samples, "samples": samples})  # fmt: skip
    return rows


def main() -> None:
    arguments = parser(__doc__, 1).parse_args()
    torch.set_num_threads(1)
    rows = []
    for kind, chosen in {kind: models(kind) for kind in ("1 gene", "20 genes", "350 genes, trained")}.items():
        for state in STATES:
            for dtype in (np.float32, np.float64):
                rows += errors(kind, chosen, state, dtype)
    columns = {"model": "", "state": "", "dtype": "", "reach": "g", "before": ".1e", "after": ".1e", "shorter": ".0%"}
    publish("gradient", rows, columns, arguments.out)


if __name__ == "__main__":
    main()
