"""The epoch loop as a whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dash_hpc.data import DataSet, TimeCourse
from dash_hpc.errors import PriorError, RunFailed
from dash_hpc.ops.phoenix import PRUNABLE, TENSORS
from dash_hpc.ops.solver import solve_arrays
from dash_hpc.ops.state import EpochResult
from dash_hpc.ops.train import EpochTask
from dash_hpc.pruning import EVENT_COLUMNS, EVENT_TIMES
from dash_hpc.training import HISTORY_COLUMNS, Fit, Trainer
from tests.small_runs import MakeSpec

DASH = {"name": "dash", "lambda_ppi": 0.2, "lambda_motif": 0.3}


def no_seconds(columns: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in columns.items() if not key.startswith("seconds")}


def test_training_learns_and_records(dataset: DataSet, make_spec: MakeSpec) -> None:
    seen: list[int] = []
    fit = Trainer(dataset, make_spec(epochs=12), lambda part: seen.append(len(part.history["epoch"]))).fit()
    assert tuple(fit.history) == HISTORY_COLUMNS
    assert fit.history["epoch"] == list(range(1, 13)) == seen
    assert all(len(column) == 12 for column in fit.history.values())
    assert fit.history["train_mse"][-1] < 0.5 * fit.history["train_mse"][0]
    assert fit.stop_reason == "epochs"
    assert fit.epoch == 12
    assert fit.events == []
    parts = sum(fit.seconds[key] for key in ("train", "validation", "score", "select"))
    assert 0 < parts <= fit.seconds["total"]
    assert fit.seconds["score"] == 0.0


def test_the_kept_model_is_the_one_with_the_lowest_validation_error(dataset: DataSet, make_spec: MakeSpec) -> None:
    fit = Trainer(dataset, make_spec(strategy=DASH, epochs=12, first_epoch=9, lr=0.02)).fit()
    assert fit.kept is not None
    errors = fit.history["validation_mse"][8:]  # unpruned models leave the race at the first event
    assert fit.kept.epoch == int(np.argmin(errors)) + 9
    assert fit.kept.validation_mse == min(errors)
    pairs = dataset.validation.pairs()
    solver = make_spec()["solver"]
    y1 = solve_arrays(fit.kept.weights, pairs.y0, pairs.t1 - pairs.t0, solver=solver).y1
    assert np.mean((y1 - pairs.y1.astype(np.float32)) ** 2) == pytest.approx(min(errors), rel=1e-5)
    for name in PRUNABLE:
        assert (fit.kept.weights[name][~fit.kept.masks[name]] == 0).all()
    zeros = sum((fit.kept.weights[name] == 0).sum() for name in ("W_sums", "W_prods"))
    zeros += sum(
        ((fit.kept.weights[name] == 0) | (fit.kept.weights["v"] <= 0)[:, None]).sum() for name in ("U_sums", "U_prods")
    )
    assert fit.history["sparsity"][fit.kept.epoch - 1] == pytest.approx(zeros / 160, abs=1e-12)


@pytest.mark.parametrize("strategy", [DASH, {"name": "imp"}, {"name": "bioprune"}], ids=lambda s: s["name"])
def test_events_are_recorded_and_hold(dataset: DataSet, make_spec: MakeSpec, strategy: dict) -> None:
    trainer = Trainer(dataset, make_spec(strategy=strategy, epochs=6))
    fit = trainer.fit()
    of_prior = ("prior_mass", "data_mass", "condition", "method", "ridge")
    assert all(tuple(event) == (*EVENT_COLUMNS, *of_prior, *EVENT_TIMES) for event in fit.events)
    assert [event["epoch"] for event in fit.events] == [2] * 4 + [4] * 4  # 6 is the last epoch
    assert [event["tensor"] for event in fit.events[:4]] == ["W_prods", "W_sums", "U_sums", "U_prods"]
    assert [(event["n_before"], event["n_pruned"]) for event in fit.events] == [(40, 20)] * 4 + [(20, 2)] * 4
    for name in PRUNABLE:
        assert trainer.state.masks[name].sum() == 18
        for arrays in (trainer.state.weights, trainer.state.moment1, trainer.state.moment2):
            assert (arrays[name][~trainer.state.masks[name]] == 0).all()
    assert fit.history["sparsity"][-1] >= 1 - 18 / 40
    assert sum(event["seconds_score"] for event in fit.events) == pytest.approx(fit.seconds["score"])


def test_same_spec_same_bits(dataset: DataSet, make_spec: MakeSpec) -> None:
    def run(**changes: Any) -> tuple[Fit, Trainer]:
        trainer = Trainer(dataset, make_spec(strategy=DASH, epochs=5, **changes))
        return trainer.fit(), trainer

    (fit, trainer), (again, trainer_again) = run(), run()
    assert no_seconds(fit.history) == no_seconds(again.history)
    for one, two in zip(fit.events, again.events, strict=True):
        np.testing.assert_equal(no_seconds(one), no_seconds(two))
    for name in TENSORS:
        assert trainer.state.weights[name].tobytes() == trainer_again.state.weights[name].tobytes()
    other, _ = run(seed=1)
    assert other.history["train_mse"] != fit.history["train_mse"]


def test_dash_at_zero_trains_as_imp(dataset: DataSet, make_spec: MakeSpec) -> None:
    zero = {"name": "dash", "lambda_ppi": 0.0, "lambda_motif": 0.0}
    ours = Trainer(dataset, make_spec(strategy=zero)).fit()
    theirs = Trainer(dataset, make_spec(strategy={"name": "imp"})).fit()
    assert no_seconds(ours.history) == no_seconds(theirs.history)


def test_early_stop_counts_through_events(dataset: DataSet, make_spec: MakeSpec) -> None:
    # With lr 0 nothing but pruning changes the model: epoch 1 stays the best unless a cut helps.
    fit = Trainer(dataset, make_spec(epochs=50, lr=0.0, min_lr=0.0, early_stop=5, strategy={"name": "imp"})).fit()
    assert fit.kept is not None
    assert fit.stop_reason == "early_stop"
    assert fit.epoch == fit.kept.epoch + 5
    assert any(fit.kept.epoch < event["epoch"] <= fit.epoch for event in fit.events)


def test_unpruned_models_are_not_kept_once_a_strategy_has_pruned(dataset: DataSet, make_spec: MakeSpec) -> None:
    # A cut of 97 % late in training makes the error worse: the best of all epochs is unpruned.
    spec = make_spec(strategy={"name": "bioprune"}, epochs=31, lr=0.02, first_epoch=30, first_fraction=0.97, every=0)
    fit = Trainer(dataset, spec).fit()
    errors = fit.history["validation_mse"]
    assert fit.kept is not None
    assert min(errors[:29]) < min(errors[29:])
    assert fit.kept.epoch >= 30
    assert fit.kept.validation_mse == min(errors[29:])


def test_no_early_stop_when_off(dataset: DataSet, make_spec: MakeSpec) -> None:
    fit = Trainer(dataset, make_spec(epochs=8, lr=0.0, min_lr=0.0, early_stop=0)).fit()
    assert (fit.epoch, fit.stop_reason) == (8, "epochs")
    assert fit.kept is not None
    assert fit.kept.epoch == 1  # equal errors later are not strictly lower


@pytest.mark.parametrize("reset", [True, False])
def test_learning_rate_starts_anew_at_events(dataset: DataSet, make_spec: MakeSpec, reset: bool) -> None:
    # A threshold that only the first epoch of a plateau rule can meet, and patience 0: then the rate halves each time.
    spec = make_spec(
        strategy={"name": "imp"}, epochs=9, every=5, plateau_threshold=1e3, plateau_patience=0, plateau_factor=0.5,
        min_lr=1e-4, reset_lr_at_events=reset, lr=8e-4,
    )  # fmt: skip
    fit = Trainer(dataset, spec).fit()
    assert sorted({event["epoch"] for event in fit.events}) == [2, 5]
    lr = np.array(fit.history["lr"]) / 1e-4
    expected = [8, 8, 8, 4, 8, 8, 4, 2, 1] if reset else [8, 8, 4, 2, 1, 1, 1, 1, 1]
    assert lr == pytest.approx(expected)


@pytest.mark.parametrize(("flag", "fast"), [(False, "v"), (True, "U_prods")])
def test_seven_rates_and_the_authors_slip(
    dataset: DataSet, make_spec: MakeSpec, flag: bool, fast: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dash_hpc.training.work as module

    used: list[dict[str, float]] = []

    def spy(tasks: list[EpochTask]) -> list[EpochResult]:
        used.extend(dict(task.lr) for task in tasks)
        return original(tasks)

    original = module.train_many
    monkeypatch.setattr(module, "train_many", spy)
    Trainer(dataset, make_spec(strategy=DASH | {"compat_lr_bug": flag}, epochs=2)).fit()
    before, after = used
    assert before == dict.fromkeys(TENSORS, 5e-3) | {"v": 2.5e-2}
    assert after == dict.fromkeys(TENSORS, 5e-3) | {fast: 2.5e-2}


def test_single_pairs_and_double_precision(dataset: DataSet, make_spec: MakeSpec) -> None:
    trainer = Trainer(dataset, make_spec(batch="single", batch_size=5, dtype="float64", epochs=3))
    fit = trainer.fit()
    assert trainer.state.step == 3 * 4  # 18 pairs
    assert trainer.state.weights["v"].dtype == np.float64
    assert fit.history["train_mse"][-1] < fit.history["train_mse"][0]


def test_prior_loss_is_used_when_tau_is_below_one(dataset: DataSet, make_spec: MakeSpec) -> None:
    plain = Trainer(dataset, make_spec(epochs=2)).fit()
    pulled = Trainer(dataset, make_spec(epochs=2, tau=0.5)).fit()
    assert plain.history["validation_mse"] != pulled.history["validation_mse"]
    with pytest.raises(PriorError, match=r"training\.tau = 0\.5 needs prior"):
        Trainer(replace(dataset, prior=None), make_spec(tau=0.5))


def test_rewinding_in_training(dataset: DataSet, make_spec: MakeSpec) -> None:
    trainer = Trainer(dataset, make_spec(strategy={"name": "imp", "rewind": "init"}, epochs=4, lr=0.0, min_lr=0.0))
    start = {name: value.copy() for name, value in trainer.state.weights.items()}
    trainer.fit()
    for name in TENSORS:
        expected = start[name] * trainer.state.masks[name] if name in PRUNABLE else start[name]
        np.testing.assert_array_equal(trainer.state.weights[name], expected)


def test_divergence_fails_the_run_with_a_reason(dataset: DataSet, make_spec: MakeSpec) -> None:
    with pytest.raises(RunFailed, match=r"epoch 1, batch \d of 6: .*steps"):
        Trainer(dataset, make_spec(method="dopri5", max_steps=1)).fit()
    with pytest.raises(RunFailed, match=r"epoch \d+"):
        Trainer(dataset, make_spec(lr=1e4, epochs=20)).fit()


def test_a_validation_pair_that_cannot_be_solved_is_named(dataset: DataSet, make_spec: MakeSpec) -> None:
    # rk4 with step 0.1 and 15 steps at most: training pairs are short enough, one validation pair is not.
    long = replace(dataset, validation=type(dataset.validation).from_arrays([np.ones((2, 10))], [[0.0, 50.0]]))
    with pytest.raises(RunFailed, match=r"epoch 1, validation pair 0 \(trajectory 0\): the maximum number"):
        Trainer(long, make_spec(step=0.1, max_steps=15)).fit()


def test_scores_that_cannot_be_used_fail_the_run(dataset: DataSet, make_spec: MakeSpec) -> None:
    trainer = Trainer(dataset, make_spec(strategy={"name": "dash", "lambda_ppi": 0.5, "lambda_motif": 0.5}))
    trainer.strategy.load_state({f"omega_{b}": np.full((4, 10), np.nan) for b in ("sums", "prods")})
    with pytest.raises(RunFailed, match=r"epoch 2: prune scores"):
        trainer.fit()


def test_data_with_missing_values_train_on_what_was_observed(dataset: DataSet, make_spec: MakeSpec) -> None:
    rng = np.random.default_rng(5)
    values = [t.values.copy() for t in dataset.train.trajectories]
    for array in values:
        array[rng.random(array.shape) < 0.1] = np.nan
    values[2][1, :6] = np.nan  # more than a quarter: no step starts there, and that batch is smaller
    holes = TimeCourse.from_arrays(values, [t.times for t in dataset.train.trajectories], dataset.genes)
    data = replace(dataset, train=holes)
    assert len(data.train.pairs()) < 18
    # with a rate of almost 0 the epoch's error is that of its last model, over all observed values
    spec = make_spec(dtype="float64", epochs=1, lr=1e-12, min_lr=0.0, step=0.1)
    trainer = Trainer(data, spec)
    fit = trainer.fit()
    assert fit.kept is not None
    pairs = data.train.pairs()
    assert np.isnan(pairs.y1).any()
    # the unit of a course of 3 hours is 1/3 hour
    end = solve_arrays(trainer.state.weights, pairs.y0, 3 * (pairs.t1 - pairs.t0), solver=trainer.solver).y1
    assert fit.history["train_mse"][0] == pytest.approx(np.nanmean((end - pairs.y1) ** 2), rel=1e-8)
    longer = Trainer(data, make_spec(epochs=20, early_stop=0)).fit()
    assert longer.history["train_mse"][-1] < 0.5 * longer.history["train_mse"][0]
