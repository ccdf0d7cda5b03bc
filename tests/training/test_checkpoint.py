"""A run that is interrupted and resumed ends with the bits of an undisturbed one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from dash_hpc.data import DataSet
from dash_hpc.errors import StoreError
from dash_hpc.pruning import registry
from dash_hpc.pruning.base import Step, Strategy
from dash_hpc.training import Checkpoint, Trainer
from dash_hpc.training.checkpoint import CheckpointTimer
from tests.small_runs import MakeSpec, resumes_at_every_epoch, same

EPOCHS = 9
DASH = {"name": "dash", "lambda_ppi": 0.05, "lambda_motif": 0.01}
STRATEGIES: dict[str, dict[str, Any]] = {
    "none": {"name": "none"},
    "imp": {"name": "imp"},
    "imp-init": {"name": "imp", "rewind": "init"},
    "imp-epoch": {"name": "imp", "rewind": 1},
    "dash": {"name": "dash", "lambda_ppi": 0.2, "lambda_motif": 0.3},
    "dash-damped": DASH | {"omega0": "gaussian", "omega_damping": 0.5, "compat_lr_bug": True},
    "bioprune": {"name": "bioprune"},
    "gated": {"name": "gated"},
    "structured": {"name": "structured", "prune": True},
}


class Gated(Strategy):
    """A trainable gate: an Adam of the strategy's own, and magnitudes as scores."""

    name: ClassVar[str] = "gated"
    scheduled: ClassVar[bool] = True

    def start(self, weights: Any, masks: Any, context: Any) -> None:
        self.gate = torch.ones((), dtype=torch.float32, requires_grad=True)

    def scores(self, weights: Any, masks: Any) -> Any:
        return {"W_sums": np.abs(weights["W_sums"].astype(np.float64))}, [{"method": "none"}]

    def parameters(self) -> list[tuple[Tensor, float | None]]:
        return [(self.gate, None)]

    def effective(self, params: dict[str, Tensor], step: Step) -> dict[str, Tensor]:
        return params | {"W_sums": params["W_sums"] * self.gate}


@pytest.fixture(autouse=True)
def _register(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.STRATEGIES, "gated", Gated)


@pytest.mark.parametrize("changes", [{}, {"dtype": "float64"}, {"tau": 0.9}], ids=["float32", "float64", "prior"])
@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_resumed_at_every_epoch(
    dataset: DataSet, make_spec: MakeSpec, tmp_path: Path, strategy: dict[str, Any], changes: dict[str, Any]
) -> None:
    spec = make_spec(strategy=strategy, epochs=EPOCHS, plateau_patience=1, early_stop=6, **changes)
    resumes_at_every_epoch(dataset, spec, tmp_path)


def test_interrupted_after_every_epoch(dataset: DataSet, make_spec: MakeSpec) -> None:
    spec = make_spec(strategy=STRATEGIES["dash"], epochs=EPOCHS)
    expected = Trainer(dataset, spec).fit()
    checkpoint: Checkpoint | None = None
    pieces = 0
    while True:
        made: list[Checkpoint] = []
        asked = iter([False, True])
        fit = Trainer(dataset, spec).fit(resume=checkpoint, checkpoint=made.append, stop=lambda a=asked: next(a, True))
        if fit.stop_reason:
            break
        (checkpoint,) = made
        assert checkpoint.epoch == fit.epoch == pieces + 1
        pieces += 1
    assert pieces == EPOCHS - 1
    same(fit, expected)


def test_a_request_before_the_first_epoch_makes_no_checkpoint(dataset: DataSet, make_spec: MakeSpec) -> None:
    made: list[Checkpoint] = []
    fit = Trainer(dataset, make_spec()).fit(checkpoint=made.append, stop=lambda: True)
    assert (fit.epoch, fit.stop_reason, made) == (0, "", [])


def test_checkpoints_come_at_events(dataset: DataSet, make_spec: MakeSpec) -> None:
    made: list[Checkpoint] = []
    spec = make_spec(strategy=STRATEGIES["dash"], epochs=4, first_epoch=3)
    Trainer(dataset, spec).fit(checkpoint=made.append, checkpoint_seconds=1e9)
    assert [checkpoint.epoch for checkpoint in made] == [3]
    # Pruned entries take no room.
    assert made[0].arrays["weights/W_sums/active"].size == 20
    assert made[0].arrays["moment2/U_prods/active"].size == 20


def test_facts_are_json(dataset: DataSet, make_spec: MakeSpec) -> None:
    made: list[Checkpoint] = []
    spec = make_spec(strategy={"name": "imp", "rewind": 1}, epochs=3)
    Trainer(dataset, spec).fit(checkpoint=made.append, checkpoint_seconds=0)
    for checkpoint in made:
        assert repr(json.loads(json.dumps(checkpoint.facts))) == repr(checkpoint.facts)
        assert all(value.dtype != object for value in checkpoint.arrays.values())


def test_a_checkpoint_of_another_model_is_refused(dataset: DataSet, make_spec: MakeSpec) -> None:
    made: list[Checkpoint] = []
    Trainer(dataset, make_spec(hidden=3)).fit(checkpoint=made.append, checkpoint_seconds=0)
    with pytest.raises(StoreError, match=r"another model: float32, shapes .*3, 10"):
        Trainer(dataset, make_spec()).fit(resume=made[0])
    broken = Checkpoint(made[0].epoch, made[0].facts, {k: v for k, v in made[0].arrays.items() if k != "masks/W_sums"})
    with pytest.raises(StoreError, match="not complete"):
        Trainer(dataset, make_spec(hidden=3)).fit(resume=broken)


def test_slow_checkpoints_come_rarely() -> None:
    now = [0.0]
    timer = CheckpointTimer(30.0, lambda: now[0])
    assert timer.due(at_event=True)
    assert not timer.due(at_event=False)
    now[0] = 30.0
    assert timer.due(at_event=False)
    now[0] = 31.0
    timer.made(30.0)  # a second
    for later, regular, event in ((32.0, False, False), (62.0, False, False), (81.0, True, True)):
        now[0] = later
        assert (timer.due(at_event=False), timer.due(at_event=True)) == (regular, event)
