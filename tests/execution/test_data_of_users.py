"""Whole studies on files as users have them: times in another unit, values missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dash_hpc
from dash_hpc import Phoenix
from dash_hpc.data import TimeCourse
from dash_hpc.execution import run_study
from dash_hpc.ops import TENSORS
from dash_hpc.report import write_report
from dash_hpc.store import Store

STUDY = """
[study]
name = "own"
[data]
kind = "files"
train = "x.csv"
genes = "genes.csv"
prior = "prior.csv"
validation = [0, 1]
[model]
hidden = 3
dtype = "float64"
[training]
epochs = 6
early_stop = 0
[schedule]
first_epoch = 2
first_fraction = 0.3
every = 2
[[strategy]]
name = "dash"
lambda_ppi = 0.1
lambda_motif = 0.1
"""
GENES = ("A", "B", "C", "D", "E", "F", "G", "H")


def course(factor: float, missing: float = 0.0) -> TimeCourse:
    rng = np.random.default_rng(3)
    hours = np.array([0.0, 1.0, 2.5, 6.0, 9.0])
    start, end = rng.random((2, 6, 1, 8))
    values = end + (start - end) * np.exp(-0.4 * hours[:, None])
    values[rng.random(values.shape) < missing] = np.nan
    return TimeCourse.from_arrays(list(values), [hours * factor] * 6, GENES)


def stored(folder: Path, data: TimeCourse) -> Store:
    folder.mkdir()
    data.write_csv(folder / "x.csv")
    (folder / "genes.csv").write_text("gene\n" + "\n".join(GENES) + "\n")
    (folder / "prior.csv").write_text("regulator,target\nA,B\nA,C\nB,D\nB,E\nC,F\nC,G\nA,H\n")
    (folder / "own.toml").write_text(STUDY)
    return run_study(folder / "own.toml", output=folder / "out", workers=1, progress="none")


def test_hours_and_seconds_give_one_model_in_their_own_units(tmp_path: Path) -> None:
    stores = {factor: stored(tmp_path / f"in-{factor:g}", course(factor)) for factor in (1.0, 3600.0)}
    hours, seconds = (store.network(store.runs.index[0]).weights for store in stores.values())
    for name in TENSORS:
        np.testing.assert_allclose(seconds[name] * (3600 if name == "v" else 1), hours[name], rtol=1e-9)
    for factor, store in stores.items():
        assert store.provenance(store.runs.index[0])["time_unit"] == factor  # trajectories of 9 hours
    found = [store.metrics(store.runs.index[0]) for store in stores.values()]
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    # what the README does with a stored network, over times of the data
    state = course(1.0).pairs().y0[:3]
    ends = [
        dash_hpc.solve(Phoenix.from_arrays(**weights), state, 0.0, 2.0 * factor, rtol=1e-9, atol=1e-11, check=True).y1
        for weights, factor in ((hours, 1.0), (seconds, 3600.0))
    ]
    np.testing.assert_allclose(ends[1].detach(), ends[0].detach(), rtol=1e-7)


def test_values_that_are_missing_are_left_out_of_errors_and_counted(tmp_path: Path) -> None:
    data = course(1.0, missing=0.1)
    store = stored(tmp_path / "holes", data)
    (run_id,) = store.runs.index
    assert store.status(run_id) == "done"
    metrics = store.metrics(run_id)
    # persistence: every gene of the validation trajectories that was measured at both ends, where few are missing
    values = np.stack([trajectory.values for trajectory in data.trajectories[:2]])
    used = np.isnan(values[:, :-1]).mean(axis=2) <= 0.25
    change = (values[:, 1:] - values[:, :-1])[used]
    assert np.isnan(change).any()
    assert metrics["control_persistence_validation_mse"] == pytest.approx(np.nanmean(change**2), rel=1e-12)
    assert metrics["validation_mse"] == pytest.approx(store.history(run_id)["validation_mse"].min(), rel=1e-6)
    assert any("values missing" in note for note in store.record(run_id).notes)
    page = Path(write_report(store)).read_text()
    assert "start values filled in" in page
