"""Whole runs side by side on the device: training, validation, pruning events."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from dash_hpc.errors import RunFailed
from dash_hpc.ops import PRUNABLE
from dash_hpc.ops.cuda import Gpu
from dash_hpc.training import Pack, Trainer
from tests.small_runs import relaxing, run_spec, same

DASH = {"name": "dash", "lambda_ppi": 0.2, "lambda_motif": 0.3}
PARTS = {
    "model": {"hidden": 6, "init_U": "orthogonal"},
    "solver": {"method": "dopri5", "rtol": 1e-5, "atol": 1e-7, "step": 0.5},
    "training": {"epochs": 7, "prior_points": 50},
    "schedule": {"first_fraction": 0.8, "every": 2, "fraction": 0.1},
}


def noisy(G=40):
    return relaxing(G, [0.0, 1.0, 1.5, 3.0], 8, noise=0.01)


def spec(seed, strategy, **changes):
    made = run_spec(PARTS, strategy, seed, {})
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
    data, grid = noisy(), []
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
    trainers = [Trainer(noisy(), spec(seed, DASH)) for seed in (0, 1)]
    trainers[0].strategy.load_state({f"omega_{branch}": np.full((6, 40), np.nan) for branch in ("sums", "prods")})
    failed, fit = Pack(gpu=gpu).run([trainer.steps() for trainer in trainers])
    assert isinstance(failed, RunFailed)
    assert str(failed).startswith("epoch 2: prune scores: the score matrix of the previous event")
    assert fit.epoch == 7


def test_a_small_grid_follows_the_cpu(gpu):
    data = noisy()
    grid = [
        *(spec(seed, {**DASH, "lambda_ppi": ppi}) for seed in (0, 1) for ppi in (0.0, 0.5)),
        spec(2, {"name": "imp"}),
        spec(3, {"name": "none"}, model={"dtype": "float64"}),
        spec(4, {"name": "snip", "keep": 0.3}),  # gradients of the loss in float64, beside runs in float32
        spec(5, {"name": "grasp", "keep": 0.3}),
    ]
    wanted = Pack().run([Trainer(data, one).steps() for one in grid])
    found = Pack(gpu=gpu).run([Trainer(data, one).steps() for one in grid])
    for mine, cpu in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine.history["train_mse"], cpu.history["train_mse"], rtol=1e-4)
        np.testing.assert_allclose(mine.history["validation_mse"], cpu.history["validation_mse"], rtol=1e-4)
        assert jaccard(*({name: fit.kept.weights[name] != 0 for name in PRUNABLE} for fit in (mine, cpu))) >= 0.99


def test_smoothed_starts_and_rows_follow_the_cpu(gpu):
    """Runs whose validations have different numbers of steps share a launch, and have the bits that they have alone."""
    data = noisy()
    made = [
        (replace(data, starts=starts), spec(seed, DASH, training={"criterion": criterion}))
        for seed, (starts, criterion) in enumerate(product(("measured", "smoothed"), ("pairs", "rows")))
    ]
    wanted = Pack().run([Trainer(*one).steps() for one in made])
    found = Pack(gpu=gpu).run([Trainer(*one).steps() for one in made])
    for mine, cpu, one in zip(found, wanted, made, strict=True):
        (alone,) = Pack(gpu=gpu).run([Trainer(*one).steps()])
        same(mine, alone)
        assert mine.history.keys() == cpu.history.keys()
        assert ("validation_rows" in mine.history) == (one[1]["training"]["criterion"] == "rows")
        for column in ("train_mse", "validation_mse", "validation_rows"):
            np.testing.assert_allclose(mine.history.get(column, 0), cpu.history.get(column, 0), rtol=1e-4)
