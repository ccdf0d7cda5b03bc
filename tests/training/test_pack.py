"""Runs side by side: the bits of each alone, one epoch at which all stop, failures that stay their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dash_hpc.data import DataSet
from dash_hpc.errors import RunFailed, UsageError
from dash_hpc.ops import EpochTask, TrainState, train_many
from dash_hpc.ops.phoenix import TENSORS
from dash_hpc.pruning import registry
from dash_hpc.training import Fit, Pack, Trainer
from tests.small_runs import MakeSpec, same
from tests.training.test_checkpoint import Gated

DASH = {"name": "dash", "lambda_ppi": 0.2, "lambda_motif": 0.3}


def specs(make_spec: MakeSpec) -> list[dict[str, Any]]:
    """Runs that differ in seed, strategy, length and precision."""
    return [
        make_spec(seed=0, strategy=DASH),
        make_spec(seed=1, strategy=DASH, epochs=9),
        make_spec(seed=2, strategy={"name": "imp"}, method="dopri5"),
        make_spec(seed=3, dtype="float64", batch="single", batch_size=5, epochs=3),
        make_spec(seed=4, tau=0.9),
    ]


@pytest.mark.parametrize("threads", [1, 3])
def test_each_run_has_the_bits_that_it_has_alone(dataset: DataSet, make_spec: MakeSpec, threads: int) -> None:
    alone = [Trainer(dataset, spec).fit() for spec in specs(make_spec)]
    pack = Pack(threads=threads)
    fits = pack.run([Trainer(dataset, spec).steps(stop=pack.stopping) for spec in specs(make_spec)])
    for found, wanted in zip(fits, alone, strict=True):
        same(found, wanted)


def test_runs_with_gates_have_their_bits_beside_others(
    dataset: DataSet, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their epochs are as many tasks as batches, and the others wait for the last."""
    monkeypatch.setitem(registry.STRATEGIES, "gated", Gated)
    made = [make_spec(seed=k, strategy=strategy) for k, strategy in enumerate([{"name": "gated"}, DASH] * 2)]
    alone = [Trainer(dataset, spec).fit() for spec in made]
    pack = Pack(threads=2)
    fits = pack.run([Trainer(dataset, spec).steps(stop=pack.stopping) for spec in made])
    for found, wanted in zip(fits, alone, strict=True):
        same(found, wanted)


@pytest.mark.parametrize("asked_at", [1, 2, 3, 5])
def test_all_stop_at_the_same_epoch(dataset: DataSet, make_spec: MakeSpec, asked_at: int) -> None:
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls >= asked_at

    pack = Pack(threads=2, stop=stop)
    checkpoints: list[int] = []
    runs = [
        Trainer(dataset, make_spec(seed=seed, epochs=8)).steps(
            stop=pack.stopping, checkpoint=lambda c: checkpoints.append(c.epoch)
        )
        for seed in range(3)
    ]
    fits = pack.run(runs)
    assert {fit.epoch for fit in fits if isinstance(fit, Fit)} == {asked_at - 1}
    assert checkpoints == [asked_at - 1] * 3 if asked_at > 1 else checkpoints == []


def test_a_run_that_fails_leaves_the_others_alone(dataset: DataSet, make_spec: MakeSpec) -> None:
    good = make_spec(seed=0, strategy=DASH)
    bad = make_spec(seed=1, lr=1e20, epochs=4)
    pack = Pack()
    failed, found = pack.run([Trainer(dataset, bad).steps(), Trainer(dataset, good).steps()])
    assert isinstance(failed, RunFailed)
    same(found, Trainer(dataset, good).fit())


def test_wrong_packs_are_refused_before_anything_is_touched(dataset: DataSet, make_spec: MakeSpec) -> None:
    steps = Trainer(dataset, make_spec()).steps()
    task = next(steps)
    assert isinstance(task, EpochTask)
    before = {name: value.copy() for name, value in task.state.weights.items()}
    with pytest.raises(UsageError, match="share one training state"):
        train_many([task, task])
    other = TrainState.fresh(task.state.weights)
    wrong = EpochTask(other, task.y0[:, 1:], task.y1, task.dt, task.batch_ptr, task.batch_index, task.lr)
    with pytest.raises(UsageError, match="y0 must be"):
        train_many([task, wrong])
    with pytest.raises(UsageError, match="threads must be 1 or more"):
        train_many([task], threads=0)
    with pytest.raises(UsageError, match="threads must be 1 or more"):
        Pack(threads=0)
    for name in TENSORS:
        np.testing.assert_array_equal(task.state.weights[name], before[name])
