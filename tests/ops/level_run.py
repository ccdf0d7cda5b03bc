"""Run every native operator, and a short training run, and write the results: `python level_run.py result.npz`.

A script for test_levels.py, which starts it once per instruction set. It needs no torch, so that an emulated processor
can run it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.data import DataSet, Prior, TimeCourse
from dash_hpc.models import initial_weights
from dash_hpc.ops import PRUNABLE, TENSORS, TrainState, dash_scores, native_info, select, solve_arrays, train_epoch
from dash_hpc.ops.native import native_module
from dash_hpc.rng import stream
from dash_hpc.training import Trainer

GENES, HIDDEN = 37, 9


def problem(pairs: int, dtype: type[np.floating], density: float) -> tuple:
    rng = stream(0, "test-levels", pairs, int(100 * density))
    weights = initial_weights(GENES, HIDDEN, rng, dtype=dtype)
    for name in PRUNABLE:
        weights[name] += rng.normal(0, 0.05, weights[name].shape).astype(dtype)  # no entry is 0 by chance
    masks = {name: rng.random(weights[name].shape) < density for name in PRUNABLE}
    y0, y1 = (rng.random((pairs, GENES)).astype(dtype) for _ in range(2))
    return TrainState.fresh(weights, masks), y0, y1, rng.choice([0.5, 1.0, 2.0], pairs), rng


def trained(
    state: TrainState, y0: np.ndarray, y1: np.ndarray, dt: np.ndarray, method: str = "rk4"
) -> dict[str, np.ndarray]:
    pairs = len(dt)
    index = np.tile(np.arange(pairs), 3)
    result = train_epoch(state, y0, y1, dt, np.arange(0, len(index) + 1, pairs), index, lr=dict.fromkeys(TENSORS, 1e-3))
    if result.reason is not None:
        raise SystemExit(result.reason)
    weights = {name: np.asarray(getattr(state.weights[name], "data", state.weights[name])) for name in TENSORS}
    return {"loss": result.loss, **{name: np.array(value) for name, value in weights.items()}}


def main(target: Path) -> None:
    found: dict[str, np.ndarray] = {}
    for dtype in (np.float32, np.float64):
        for pairs, density in ((4, 1.0), (17, 1.0), (5, 0.05), (33, 0.1), (16, 0.0)):
            key = f"{np.dtype(dtype).name}-{pairs}-{density}"
            state, y0, y1, dt, rng = problem(pairs, dtype, density)
            tight = {"rtol": 1e-7, "atol": 1e-9}  # levels may take other steps: errors then differ
            solution = solve_arrays(state.weights, y0, dt, masks=state.masks, solver=tight)
            if not solution.ok.all():
                raise SystemExit(f"{key}: not solved")
            found[f"{key}-y1"] = solution.y1
            bar = rng.normal(size=y0.shape).astype(dtype)
            sizes = np.tile(dt[:, None] / 6, (1, 6))  # a level would choose its own in the last bits
            grad_y0, grads, _ = native_module().solve_backward(state.weights, y0, sizes, bar, "dopri5")
            found |= {f"{key}-grad-{name}": grads[name] for name in TENSORS} | {f"{key}-grad-y0": grad_y0}
            found |= {f"{key}-trained-{name}": value for name, value in trained(state, y0, y1, dt).items()}
            again, *_ = problem(pairs, dtype, density)
            more = trained(again, y0, y1, dt, "dopri5")
            found |= {f"{key}-adaptive-{name}": value for name, value in more.items()}
            if density:
                again, *_ = problem(pairs, dtype, density)
                born = dict(again.weights) | {name: csr_array(again.weights[name]) for name in PRUNABLE}
                more = trained(TrainState.fresh(born), y0, y1, dt)
                found |= {f"{key}-born-{name}": value for name, value in more.items()}

    state, *_, rng = problem(4, np.float32, 0.5)
    omega = rng.random((HIDDEN, GENES))
    motif = csr_array((rng.random((GENES, GENES)) < 0.1).astype(float))
    scores = dash_scores(
        state.weights["W_sums"], state.weights["U_sums"], state.weights["v"], omega, motif @ motif.T, motif.T,
        branch="sums", lambda_ppi=0.3, lambda_motif=0.2,
    )  # fmt: skip
    found |= {"omega": scores.omega, "psi": scores.psi}
    found["mask"] = select(scores.omega, np.ones_like(state.masks["W_sums"]), 100)[0]
    found |= run(rng, motif)
    np.savez(target, isa=native_info()["isa"], **found)


def run(rng: np.random.Generator, motif: csr_array) -> dict[str, np.ndarray]:
    """A DASH run of four epochs with two events, in float64 so that all levels prune the same weights."""
    times = np.array([0.0, 1.0, 3.0])
    course = TimeCourse.from_arrays(list(rng.random((6, 3, GENES))), [times] * 6)
    dataset = DataSet("levels", course, course.select([0]), prior=Prior(course.genes, motif))
    spec = {
        "model": {"hidden": HIDDEN, "init_U": "orthogonal", "dtype": "float64"},
        "solver": {"method": "dopri5", "rtol": 1e-6, "atol": 1e-8},
        "training": {
            "epochs": 4, "batch": "trajectory", "batch_size": 4, "lr": 1e-3, "v_lr_factor": 1.0,
            "betas": [0.9, 0.999], "eps": 1e-8, "plateau_factor": 0.9, "plateau_patience": 3,
            "plateau_threshold": 1e-6, "min_lr": 4e-5, "early_stop": 0, "reset_lr_at_events": True, "tau": 1.0,
        },
        "schedule": {"first_epoch": 2, "first_fraction": 0.7, "every": 3, "fraction": 0.1},
        "strategy": {"name": "dash", "lambda_ppi": 0.1, "lambda_motif": 0.1},
        "seed": 0,
    }  # fmt: skip
    fit = Trainer(dataset, spec).fit()
    kept = {f"run-{name}": value for name, value in fit.kept.weights.items()}
    return kept | {"run-validation": np.array(fit.history["validation_mse"])}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
