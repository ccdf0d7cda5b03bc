"""Whole runs side by side on the device: training, validation, pruning events."""

from __future__ import annotations

import numpy as np

from dash_hpc.data import DataSet, Prior, TimeCourse
from dash_hpc.errors import RunFailed
from dash_hpc.ops import PRUNABLE
from dash_hpc.ops.cuda import Gpu
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


def jaccard(one, other):
    kept, also = (np.concatenate([masks[name].ravel() for name in PRUNABLE]) for masks in (one, other))
    return (kept & also).sum() / (kept | also).sum()


def test_events_of_many_runs_follow_the_cpu(gpu, monkeypatch):
    """Scores and selections of all runs that have an event are one call each; the others do not wait for them."""
    calls, originals = [], dict(vars(Gpu))
    for name in ("score_many", "select_many"):

        def counted(self, tasks, name=name, works=originals):
            calls.append((name, len(tasks)))
            return works[name](self, tasks)

        monkeypatch.setattr(Gpu, name, counted)
    data, grid = relaxing(), []
    for seed, options in enumerate(
        [DASH, {**DASH, "score_norm": "rank"}, {**DASH, "omega_damping": 0.5}, {"name": "bioprune"}, {"name": "imp"}]
    ):
        grid.append(spec(seed, options, training={"epochs": 12}))
    grid.append(spec(9, DASH, training={"epochs": 3}, schedule={"first_epoch": 3}))

    def run(device):
        trainers = [Trainer(data, one) for one in grid]
        fits = Pack(gpu=device).run([trainer.steps() for trainer in trainers])
        return fits, [trainer.state.masks for trainer in trainers]

    wanted, cpu_masks = run(None)
    found, masks = run(gpu)
    # events at epochs 2, 4, ..., 10 and of the last run at 3; imp has no scores to compute
    dash, late = [("score_many", 4), ("select_many", 5)], [("score_many", 1), ("select_many", 1)]
    assert calls == [*dash, *late, *dash * 4]
    for mine, cpu in zip(found, wanted, strict=True):
        assert [e["n_pruned"] for e in mine.events] == [e["n_pruned"] for e in cpu.events]
        assert [e["method"] for e in mine.events] == [e["method"] for e in cpu.events]
        # the prior's mass moves: condition numbers up to 1e11 meet weights that differ by float32 rounding
        np.testing.assert_allclose(
            [e["data_mass"] for e in mine.events], [e["data_mass"] for e in cpu.events], rtol=1e-9
        )
    assert [len(fit.events) for fit in found] == [20] * 5 + [4]
    assert all(jaccard(*pair) >= 0.99 for pair in zip(masks, cpu_masks, strict=True))


def test_an_event_that_fails_ends_its_own_run(gpu):
    trainers = [Trainer(relaxing(), spec(seed, DASH)) for seed in (0, 1)]
    trainers[0].strategy.load_state({f"omega_{branch}": np.full((6, 40), np.nan) for branch in ("sums", "prods")})
    failed, fit = Pack(gpu=gpu).run([trainer.steps() for trainer in trainers])
    assert isinstance(failed, RunFailed)
    assert str(failed).startswith("epoch 2: prune scores: the score matrix of the previous event")
    assert fit.epoch == 7


def test_a_small_grid_follows_the_cpu(gpu):
    data = relaxing()
    grid = [
        *(spec(seed, {**DASH, "lambda_ppi": ppi}) for seed in (0, 1) for ppi in (0.0, 0.5)),
        spec(2, {"name": "imp"}),
        spec(3, {"name": "none"}, model={"dtype": "float64"}),
    ]
    wanted = Pack().run([Trainer(data, one).steps() for one in grid])
    found = Pack(gpu=gpu).run([Trainer(data, one).steps() for one in grid])
    for mine, cpu in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine.history["train_mse"], cpu.history["train_mse"], rtol=1e-4)
        np.testing.assert_allclose(mine.history["validation_mse"], cpu.history["validation_mse"], rtol=1e-4)
        assert jaccard(*({name: fit.kept.weights[name] != 0 for name in PRUNABLE} for fit in (mine, cpu))) >= 0.99
