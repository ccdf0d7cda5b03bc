"""Whole runs side by side on the device: training, validation, pruning events."""

from __future__ import annotations

import numpy as np

from dash_hpc.data import DataSet, Prior, TimeCourse
from dash_hpc.ops import PRUNABLE
from dash_hpc.training import Pack, Trainer

TIMES = np.array([0.0, 1.0, 1.5, 3.0])
DASH = {"name": "dash", "lambda_ppi": 0.2, "lambda_motif": 0.3}


def relaxing(G=40):
    """Genes that relax to a mix of the first three, with a little noise; 8 + 2 trajectories."""
    rng = np.random.default_rng(17)
    motif = np.zeros((G, G))
    motif[rng.integers(0, 3, size=G), np.arange(G)] = rng.choice([-1.0, 1.0], size=G)
    goal = 0.5 + 0.3 * motif.T

    def course(n):
        values = []
        for _ in range(n):
            start = rng.random(G)
            end = np.clip(goal @ start / G, 0, 1)
            values.append(end + (start - end) * np.exp(-0.6 * TIMES)[:, None] + rng.normal(0, 0.01, (4, G)))
        return TimeCourse.from_arrays(values, [TIMES] * n)

    train = course(8)
    return DataSet("relaxing", train, course(2), prior=Prior.from_arrays(motif, train.genes))


def spec(seed, strategy, **changes):
    made = {
        "model": {"hidden": 6, "init_U": "orthogonal", "dtype": "float32"},
        "solver": {"method": "dopri5", "rtol": 1e-5, "atol": 1e-7, "step": 0.5, "max_steps": 1000},
        "training": {
            "epochs": 7, "batch": "trajectory", "batch_size": 4, "lr": 5e-3, "v_lr_factor": 5.0,
            "betas": [0.9, 0.999], "eps": 1e-8, "plateau_factor": 0.9, "plateau_patience": 3,
            "plateau_threshold": 1e-6, "min_lr": 4e-5, "early_stop": 40, "reset_lr_at_events": True,
            "tau": 1.0, "prior_points": 50, "prior_low": -0.5, "prior_high": 0.5,
        },
        "schedule": {"first_epoch": 2, "first_fraction": 0.8, "every": 2, "fraction": 0.1},
        "strategy": strategy,
        "seed": seed,
    }  # fmt: skip
    for part, values in changes.items():
        made[part] |= values
    return made


def test_a_small_grid_follows_the_cpu(gpu):
    data = relaxing()
    grid = [
        *(spec(seed, {**DASH, "lambda_ppi": ppi}) for seed in (0, 1) for ppi in (0.0, 0.5)),
        spec(2, {"name": "imp"}),
        spec(3, {"name": "none"}, model={"dtype": "float64"}),
    ]
    wanted = Pack().run([Trainer(data, one).course() for one in grid])
    found = Pack(gpu=gpu).run([Trainer(data, one).course() for one in grid])
    for mine, cpu in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine.history["train_mse"], cpu.history["train_mse"], rtol=1e-4)
        np.testing.assert_allclose(mine.history["validation_mse"], cpu.history["validation_mse"], rtol=1e-4)
        kept, other = (
            np.concatenate([fit.kept.weights[name].ravel() != 0 for name in PRUNABLE]) for fit in (mine, cpu)
        )
        assert (kept & other).sum() / (kept | other).sum() >= 0.99
