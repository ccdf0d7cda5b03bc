"""Runs of several phases: what each starts from, what is kept, and that they go on bit for bit from any epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy.sparse import csr_array

from dash_hpc.data import DataSet
from dash_hpc.errors import PriorError, UsageError
from dash_hpc.ops.solver import solve_arrays
from dash_hpc.ops.state import values
from dash_hpc.pruning import Strategy, registry
from dash_hpc.pruning.imp import magnitude_scores
from dash_hpc.study import Phase, StrategyOptions, total_epochs
from dash_hpc.training import Checkpoint, Fit, Pack, Trainer
from tests.small_runs import MakeSpec, resumes_at_every_epoch, same


class TunedOptions(StrategyOptions):
    """Train, remove, train on."""

    start: str = "kept"
    keep: str = "best"
    lr: float = 1e-3

    def phases(self, training: Mapping[str, Any]) -> tuple[Phase, ...]:
        cut = {"first_epoch": 1, "first_fraction": 0.5, "every": 0}
        return (
            Phase(int(training["epochs"]), schedule=None),
            Phase(3, start=self.start, keep=self.keep, schedule=cut, training={"lr": self.lr}),  # type: ignore[arg-type]
            Phase(2, schedule=None),
        )


class Tuned(Strategy):
    name: ClassVar[str] = "tuned"
    Options: ClassVar[type[StrategyOptions]] = TunedOptions
    entered: ClassVar[list[Any]] = []

    def scores(self, weights: Any, masks: Any) -> Any:
        scores, _ = magnitude_scores(weights)
        return scores, [{"rows": len(score)} for score in scores.values()]

    def enter(self, phase: int, weights: Any, masks: Any) -> Any:
        copies = {name: values(tensor).copy() for name, tensor in weights.items()}
        self.entered.append((phase, copies, {name: mask.copy() for name, mask in masks.items()}))


class RebuiltOptions(StrategyOptions):
    """Train dense, choose a structure, rebuild."""

    compressed: bool = False

    def phases(self, training: Mapping[str, Any]) -> tuple[Phase, ...]:
        return Phase(3, keep="last"), Phase(4, start="kept")


class Rebuilt(Strategy):
    """Goes on with two of its units, or with the entries of the larger half alone."""

    name: ClassVar[str] = "rebuilt"
    Options: ClassVar[type[StrategyOptions]] = RebuiltOptions
    scheduled: ClassVar[bool] = True
    options: RebuiltOptions

    def scores(self, weights: Any, masks: Any) -> Any:
        scores, records = magnitude_scores(weights)
        return scores, records

    def enter(self, phase: int, weights: Any, masks: Any) -> Any:
        if self.options.compressed:
            found = {name: weights[name] for name in weights}
            for name in masks:
                dense = np.where(
                    masks[name] & (np.abs(weights[name]) >= np.median(np.abs(weights[name]))), weights[name], 0
                )
                found[name] = csr_array(dense)
            return found, {name: np.ones(found[name].nnz, dtype=bool) for name in masks}
        units = [0, 2]
        take = {"W": lambda w: w[units], "U": lambda w: w[:, units], "b": lambda w: w[units], "v": lambda w: w}
        found = {name: np.ascontiguousarray(take[name[0]](tensor)) for name, tensor in weights.items()}
        return found, {name: np.ascontiguousarray(take[name[0]](mask)) for name, mask in masks.items()}


class BuiltOptions(StrategyOptions):
    """A model that is computed, alone or with training around it."""

    around: int = 0

    def phases(self, training: Mapping[str, Any]) -> tuple[Phase, ...]:
        middle = Phase(1, start="kept", schedule=None, trains=False)
        if not self.around:
            return (middle,)
        return Phase(self.around, schedule=None), middle, Phase(self.around, schedule=None)


class Built(Strategy):
    """Keeps the entries of the larger half, compressed, and doubles the biases."""

    name: ClassVar[str] = "built"
    Options: ClassVar[type[StrategyOptions]] = BuiltOptions

    def build(self, weights: Any, masks: Any) -> Any:
        found = {name: 2 * tensor if name[0] == "b" else tensor for name, tensor in weights.items()}
        for name in masks:
            large = np.abs(weights[name]) >= np.median(np.abs(weights[name]))
            found[name] = csr_array(np.where(large, weights[name], 0))
        return found, {name: np.ones(found[name].nnz, dtype=bool) for name in masks}


class Curriculum(Strategy):
    """A prior loss from the third epoch on."""

    name: ClassVar[str] = "curriculum"

    def tau(self, epoch: int) -> float | None:
        return 1.0 if epoch < 3 else 0.5


class Always(Strategy):
    """The prior loss of training.tau = 0.9, as a property of the strategy."""

    name: ClassVar[str] = "always"

    def tau(self, epoch: int) -> float | None:
        return 0.9


@pytest.fixture(autouse=True)
def _register(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (Tuned, Rebuilt, Built, Curriculum, Always):
        monkeypatch.setitem(registry.STRATEGIES, cls.name, cls)
    monkeypatch.setattr(Tuned, "entered", [])


def test_each_phase_has_its_events_its_rates_and_its_race(dataset: DataSet, make_spec: MakeSpec) -> None:
    spec = make_spec(strategy={"name": "tuned", "lr": 2e-3}, epochs=4, lr=5e-3, early_stop=0, plateau_patience=99)
    fit = Trainer(dataset, spec).fit()
    assert total_epochs(spec) == fit.epoch == 9
    assert fit.stop_reason == "epochs"
    assert fit.history["phase"] == [0] * 4 + [1] * 3 + [2] * 2
    assert fit.history["epoch"] == list(range(1, 10))
    assert fit.history["lr"] == [5e-3] * 4 + [2e-3] * 3 + [5e-3] * 2
    assert {event["epoch"] for event in fit.events} == {5}
    assert [(event["n_before"], event["n_pruned"]) for event in fit.events] == [(40, 20)] * 4
    assert fit.kept is not None
    assert fit.kept.epoch >= 8  # of the last phase, whatever was reached before
    assert fit.kept.validation_mse == min(fit.history["validation_mse"][7:])
    assert all(mask.sum() == 20 for mask in fit.kept.masks.values())


@pytest.mark.parametrize("start", ["here", "kept", "initial"])
def test_what_a_phase_starts_from(dataset: DataSet, make_spec: MakeSpec, start: str) -> None:
    spec = make_spec(strategy={"name": "tuned", "start": start}, epochs=4, lr=0.05, early_stop=0)
    made: list[Checkpoint] = []
    trainer = Trainer(dataset, spec)
    initial = {name: tensor.copy() for name, tensor in trainer.state.weights.items()}
    trainer.fit(checkpoint=made.append, checkpoint_seconds=0)
    fourth = next(checkpoint for checkpoint in made if checkpoint.epoch == 4)
    errors = fourth.arrays["history/validation_mse"]
    assert errors.argmin() < 3, "the learning rate is to be so large that the best epoch is not the last"
    (_, weights, masks), (_, _, later) = Tuned.entered
    parts = {"here": "weights", "kept": "kept_weights"}
    for name, tensor in weights.items():
        expected = initial[name] if start == "initial" else fourth.arrays[f"{parts[start]}/{name}"]
        if start == "kept" and name == "v":
            expected = expected * dataset.time_unit  # kept models are in the unit of the data
        np.testing.assert_allclose(tensor, expected, rtol=1e-6, atol=0)
    assert all(mask.all() for mask in masks.values())
    assert all(mask.sum() == 20 for mask in later.values())
    fifth = next(checkpoint for checkpoint in made if checkpoint.epoch == 5)
    assert fifth.facts["step"] == (30 if start == "here" else 6)  # six trajectories, a step each


def test_the_last_model_of_a_phase_can_be_kept(dataset: DataSet, make_spec: MakeSpec) -> None:
    kept: list[int] = []

    def look(fit: Fit) -> None:
        assert fit.kept is not None
        kept.append(fit.kept.epoch)

    spec = make_spec(strategy={"name": "tuned", "keep": "last"}, epochs=4, lr=0.05, early_stop=0)
    Trainer(dataset, spec, progress=look).fit()
    assert kept[4:7] == [5, 6, 7]
    assert kept[:4] != [1, 2, 3, 4]


def test_an_early_stop_ends_its_phase(dataset: DataSet, make_spec: MakeSpec) -> None:
    spec = make_spec(strategy={"name": "tuned"}, epochs=30, lr=0.3, early_stop=2)
    fit = Trainer(dataset, spec).fit()
    lengths = np.bincount(fit.history["phase"])
    assert lengths[0] < 30
    assert fit.epoch == lengths.sum()
    assert len(lengths) == 3


STRATEGIES: dict[str, dict[str, Any]] = {
    "kept": {"name": "tuned"},
    "initial-last": {"name": "tuned", "start": "initial", "keep": "last"},
    "here": {"name": "tuned", "start": "here"},
    "fewer-units": {"name": "rebuilt"},
    "compressed": {"name": "rebuilt", "compressed": True},
    "built": {"name": "built"},
    "built-between": {"name": "built", "around": 2},
    "curriculum": {"name": "curriculum"},
}


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_resumed_at_every_epoch(
    dataset: DataSet, make_spec: MakeSpec, tmp_path: Path, strategy: dict[str, Any]
) -> None:
    spec = make_spec(strategy=strategy, epochs=4, plateau_patience=1, early_stop=6)
    resumes_at_every_epoch(dataset, spec, tmp_path)


def test_a_phase_without_training_takes_no_step(dataset: DataSet, make_spec: MakeSpec) -> None:
    spec = make_spec(strategy={"name": "built"}, tau=0.9)
    trainer = Trainer(replace(dataset, prior=None), spec)  # nothing is trained, so no loss asks for a prior
    before = {name: values(tensor).copy() for name, tensor in trainer.state.weights.items()}
    fit = trainer.fit()
    assert (fit.epoch, fit.stop_reason, total_epochs(spec)) == (1, "epochs", 1)
    assert trainer.state.step == 0
    assert fit.kept is not None
    for name in ("U_sums", "b_sums"):
        kept = fit.kept.weights[name]
        wanted = 2 * before[name] if name == "b_sums" else before[name]
        found = kept.toarray() if isinstance(kept, csr_array) else kept
        np.testing.assert_array_equal(found[found != 0], wanted[found != 0])
    assert fit.kept.weights["U_sums"].nnz == 20
    # The errors are those of the built model, on either part of the data.
    weights = trainer.state.weights
    for course, column in ((dataset.train, "train_mse"), (dataset.validation, "validation_mse")):
        pairs = course.pairs().in_unit(dataset.time_unit)
        start = pairs.y0.astype(np.float32)
        y1 = solve_arrays(weights, start, pairs.t1 - pairs.t0, solver=trainer.solver).y1
        assert fit.history[column] == [pytest.approx(float(((y1 - pairs.y1) ** 2).mean()), rel=1e-5)]


def test_runs_side_by_side_build_what_they_build_alone(dataset: DataSet, make_spec: MakeSpec) -> None:
    specs = [make_spec(strategy={"name": "built", "around": 2 * (seed % 2)}, seed=seed) for seed in range(4)]
    together = Pack(threads=2).run([Trainer(dataset, spec).steps() for spec in specs])
    for found, spec in zip(together, specs, strict=True):
        same(found, Trainer(dataset, spec).fit())


def test_a_phase_without_training_is_one_epoch() -> None:
    with pytest.raises(UsageError, match="a phase that does not train is one epoch, got 3"):
        Phase(3, trains=False)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_structure_that_changes_is_trained_and_kept(dataset: DataSet, make_spec: MakeSpec, compressed: bool) -> None:
    fit = Trainer(dataset, make_spec(strategy={"name": "rebuilt", "compressed": compressed})).fit()
    assert fit.kept is not None
    assert fit.kept.epoch > 3
    if compressed:
        assert all(isinstance(fit.kept.weights[name], csr_array) for name in fit.kept.masks)
        assert fit.kept.weights["W_sums"].nnz <= 20
    else:
        assert fit.kept.weights["W_sums"].shape == (2, 10)
        assert fit.kept.weights["b_sums"].shape == (2,)
    assert all(fit.kept.masks[name].shape == values(fit.kept.weights[name]).shape for name in fit.kept.masks)


def test_a_tau_of_the_strategy_is_that_of_the_study(dataset: DataSet, make_spec: MakeSpec) -> None:
    ours = Trainer(dataset, make_spec(strategy={"name": "always"})).fit()
    theirs = Trainer(dataset, make_spec(strategy={"name": "none"}, tau=0.9)).fit()
    same(ours, theirs)
    without = Trainer(dataset, make_spec(strategy={"name": "none"})).fit()
    later = Trainer(dataset, make_spec(strategy={"name": "curriculum"})).fit()
    assert later.history["train_mse"][:2] == without.history["train_mse"][:2]
    assert later.history["validation_mse"][:2] == without.history["validation_mse"][:2]
    assert later.history["validation_mse"][2:] != without.history["validation_mse"][2:]


def test_a_prior_loss_without_a_prior_is_refused_at_the_start(dataset: DataSet, make_spec: MakeSpec) -> None:
    bare = DataSet("bare", dataset.train, dataset.validation)
    with pytest.raises(PriorError, match=r"the tau of strategy curriculum = 0.5 needs prior knowledge"):
        Trainer(bare, make_spec(strategy={"name": "curriculum"}))
    with pytest.raises(PriorError, match=r"training.tau = 0.9 needs .* or set training.tau = 1"):
        Trainer(bare, make_spec(tau=0.9))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"epochs": 0}, "1 epoch or more"),
        ({"epochs": 1, "start": "there"}, "start must be one of here, kept, initial, got 'there'"),
        ({"epochs": 1, "keep": "all"}, "keep must be one of best, last"),
        ({"epochs": 1, "training": {"epochs": 3}}, "number of epochs in epochs"),
    ],
)
def test_phases_that_cannot_be(options: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        Phase(**options)
