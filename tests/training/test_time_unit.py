"""The unit that times are written in changes nothing but the unit of the rates."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import dash_hpc
from dash_hpc.data import DataSet, TimeCourse
from dash_hpc.errors import RunFailed
from dash_hpc.evaluation import evaluate
from dash_hpc.models import Phoenix
from dash_hpc.ops import PRUNABLE, TENSORS
from dash_hpc.pruning import Context, Strategy
from dash_hpc.training import Checkpoint, Fit, Trainer
from tests.small_runs import MakeSpec

DASH = {"name": "dash", "lambda_ppi": 0.2, "lambda_motif": 0.2}
#: Units of time in an hour.
UNITS = {"day": 1 / 24, "hour": 1.0, "minute": 60.0, "second": 3600.0, "millisecond": 3.6e6, "nanosecond": 3.6e12}


def in_unit(dataset: DataSet, factor: float) -> DataSet:
    def scaled(course: TimeCourse) -> TimeCourse:
        return TimeCourse.from_arrays(
            [t.values for t in course.trajectories], [t.times * factor for t in course.trajectories], course.genes
        )

    test = scaled(dataset.validation)
    return DataSet("scaled", scaled(dataset.train), scaled(dataset.validation), test, dataset.prior)


def trained(dataset: DataSet, spec: dict[str, Any], factor: float) -> tuple[Fit, dict[str, float]]:
    spec = {**spec, "solver": {**spec["solver"], "step": spec["solver"]["step"] * factor}}
    data = in_unit(dataset, factor)
    fit = Trainer(data, spec).fit()
    assert fit.kept is not None
    return fit, evaluate(fit.kept.weights, fit.kept.masks, data, solver=spec["solver"])


@pytest.mark.parametrize("unit", [name for name in UNITS if name != "hour"])
@pytest.mark.parametrize("changes", [{"method": "dopri5"}, {"method": "rk4", "tau": 0.7, "prior_multipliers": True}])
def test_all_units_give_the_same_model(
    dataset: DataSet, make_spec: MakeSpec, changes: dict[str, Any], unit: str
) -> None:
    spec = make_spec(strategy=DASH, dtype="float64", epochs=12)
    spec["training"] |= {key: value for key, value in changes.items() if key != "method"}
    spec["solver"]["method"] = changes["method"]
    (hours, wanted), (other, found) = (trained(dataset, spec, UNITS[name]) for name in ("hour", unit))
    assert hours.kept is not None
    assert other.kept is not None
    assert hours.kept.epoch == other.kept.epoch
    for name in PRUNABLE:
        np.testing.assert_array_equal(other.kept.masks[name], hours.kept.masks[name])
    for column in ("train_mse", "validation_mse", "sparsity"):
        np.testing.assert_allclose(other.history[column], hours.history[column], rtol=1e-6)
    assert found == pytest.approx(wanted, rel=1e-6)
    for name in TENSORS:
        scale = UNITS[unit] if name == "v" else 1.0
        np.testing.assert_allclose(other.kept.weights[name] * scale, hours.kept.weights[name], rtol=1e-6, atol=1e-9)


def test_seconds_in_float32_have_the_masks_of_hours_after_many_epochs(dataset: DataSet, make_spec: MakeSpec) -> None:
    """Rounding that differs would be amplified from step to step."""
    spec = make_spec(strategy=DASH, epochs=60, early_stop=0)
    (hours, _), (seconds, _) = (trained(dataset, spec, factor) for factor in (1.0, 3600.0))
    assert seconds.history["train_mse"] == hours.history["train_mse"]
    assert hours.kept is not None
    assert seconds.kept is not None
    for name in PRUNABLE:
        np.testing.assert_array_equal(seconds.kept.weights[name], hours.kept.weights[name])


def test_the_kept_model_is_solved_over_times_of_the_data(dataset: DataSet, make_spec: MakeSpec) -> None:
    spec = make_spec(dtype="float64")
    starts = dataset.validation.pairs().y0
    ends = []
    for factor in (1.0, 3600.0):
        fit, _ = trained(dataset, spec, factor)
        assert fit.kept is not None
        model = Phoenix.from_arrays(**fit.kept.weights)
        ends.append(dash_hpc.solve(model, starts, 0.0, 2.0 * factor, rtol=1e-9, atol=1e-11, check=True).y1.detach())
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-7)


def test_unit_1_is_the_published_way_and_another_one_is_another_model(dataset: DataSet, make_spec: MakeSpec) -> None:
    """Without a unit of its own the same data in seconds fail or end elsewhere: what the default is there for."""
    spec = make_spec(strategy=DASH)
    hours = Trainer(dataclasses.replace(dataset, time_unit=1.0), spec).fit()
    assert hours.kept is not None
    try:
        data = dataclasses.replace(in_unit(dataset, 3600.0), time_unit=1.0)
        seconds = Trainer(data, {**spec, "solver": {**spec["solver"], "method": "dopri5"}}).fit()
    except RunFailed:
        return
    assert seconds.history["train_mse"] != pytest.approx(hours.history["train_mse"], rel=0.1)


def test_a_checkpoint_goes_on_with_the_same_bits(dataset: DataSet, make_spec: MakeSpec) -> None:
    data, spec = in_unit(dataset, 60.0), make_spec(strategy=DASH)
    made: list[Checkpoint] = []
    whole = Trainer(data, spec).fit(checkpoint=made.append, checkpoint_seconds=0)
    again = Trainer(data, spec).fit(resume=made[2])
    assert again.history["train_mse"] == whole.history["train_mse"]
    assert whole.kept is not None
    assert again.kept is not None
    for name in TENSORS:
        np.testing.assert_array_equal(again.kept.weights[name], whole.kept.weights[name])


def test_a_strategy_sees_times_in_the_unit_of_its_weights(
    dataset: DataSet, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Context] = []
    monkeypatch.setattr(Strategy, "start", lambda self, weights, masks, context: seen.append(context))
    data = in_unit(dataset, 60.0)  # trajectories of 180 minutes: the unit is 20
    Trainer(data, make_spec(method="rk4", step=5.0))
    (context,) = seen
    np.testing.assert_allclose((context.pairs.t1 - context.pairs.t0)[:3], np.array([60, 30, 90]) / 20, rtol=1e-12)
    assert context.solver["step"] == pytest.approx(5.0 / 20, rel=1e-12)


def test_the_step_of_rk4_is_by_itself_one_of_the_unit_of_training(dataset: DataSet, make_spec: MakeSpec) -> None:
    """So that times in seconds need no other step."""
    data = in_unit(dataset, 3600.0)
    for step in ("auto", 0.125 * 1200):  # courses of 3 hours: the unit is 1200 seconds
        spec = make_spec(method="rk4", step=step)
        trainer = Trainer(data, spec)
        assert trainer.solver.step == 0.125
        fit = trainer.fit()
        assert fit.kept is not None
        assert np.isfinite(evaluate(fit.kept.weights, None, data, solver=spec["solver"])["train_mse"])
