"""Runs that are validated on start-free rows, from measured and smoothed starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dash_hpc.data import DataSet
from dash_hpc.evaluation import evaluate
from dash_hpc.evidence.starts import with_starts
from dash_hpc.training import HISTORY_COLUMNS, Pack, Trainer
from tests.small_runs import MakeSpec, resumes_at_every_epoch, same

DASH = {"name": "dash", "lambda_ppi": 0.2, "lambda_motif": 0.3}
STARTS = ("measured", "smoothed")


def by_rows(make_spec: MakeSpec, **changes: Any) -> dict[str, Any]:
    spec = make_spec(**changes)
    spec["training"]["criterion"] = "rows"
    return spec


@pytest.mark.parametrize("starts", STARTS)
def test_the_lowest_error_of_rows_decides(dataset: DataSet, make_spec: MakeSpec, starts: str) -> None:
    data = replace(dataset, starts=starts)
    spec = by_rows(make_spec, strategy=DASH, epochs=14, first_epoch=7, lr=0.03, plateau_patience=0)
    fit = Trainer(data, spec).fit()
    assert tuple(fit.history) == (*HISTORY_COLUMNS, "validation_rows")
    rows = fit.history["validation_rows"]
    assert fit.kept is not None
    assert fit.kept.epoch == int(np.argmin(rows[6:])) + 7
    assert fit.kept.validation_mse == fit.history["validation_mse"][fit.kept.epoch - 1]
    # the kept model, measured again
    used = with_starts(data)
    metrics = evaluate(fit.kept.weights, fit.kept.masks, used, solver=spec["solver"], rows=True)
    assert metrics["validation_rows"] == pytest.approx(min(rows[6:]), rel=1e-4)
    assert metrics["validation_mse"] == pytest.approx(fit.kept.validation_mse, rel=1e-4)
    # and the plateau rule went by rows as well
    bad = [epoch for epoch in range(1, 6) if rows[epoch] > min(rows[:epoch]) - 1e-6]
    falls = [epoch for epoch in range(1, 6) if fit.history["lr"][epoch + 1] < fit.history["lr"][epoch]]
    assert falls == [epoch for epoch in bad if epoch + 2 != 7]


def test_measured_starts_are_solved_beside_the_rows_and_smoothed_ones_once(
    dataset: DataSet, make_spec: MakeSpec
) -> None:
    count = len(dataset.validation.pairs())
    measured = Trainer(dataset, by_rows(make_spec))
    assert len(measured.validation.dt) == 2 * count
    smoothed = Trainer(replace(dataset, starts="smoothed"), by_rows(make_spec))
    assert len(smoothed.validation.dt) == count
    # the criterion is the same for both: it does not ask what steps start from
    predicted = np.random.default_rng(0).random((count, dataset.n_genes))
    assert measured.validation.rows is not None
    assert smoothed.validation.rows is not None
    assert measured.validation.rows.error(predicted) == smoothed.validation.rows.error(predicted)


def test_the_pairs_have_the_bits_that_they_have_without_rows(dataset: DataSet, make_spec: MakeSpec) -> None:
    plain, rows = make_spec(epochs=4), by_rows(make_spec, epochs=4)
    one, other = Trainer(dataset, plain).fit(), Trainer(dataset, rows).fit()
    assert tuple(one.history) == HISTORY_COLUMNS
    assert one.history["validation_mse"] == other.history["validation_mse"]
    assert one.history["train_mse"] == other.history["train_mse"]


def test_steps_start_from_what_the_data_set_asks_for(dataset: DataSet, make_spec: MakeSpec) -> None:
    one, other = (Trainer(replace(dataset, starts=starts), make_spec()) for starts in STARTS)
    assert one.dataset.train is dataset.train
    assert not np.array_equal(one.train_examples.y0, other.train_examples.y0)
    np.testing.assert_array_equal(one.train_examples.y1, other.train_examples.y1)
    assert tuple(other.fit().history) == HISTORY_COLUMNS


@pytest.mark.parametrize("starts", STARTS)
def test_resumed_at_every_epoch(dataset: DataSet, make_spec: MakeSpec, tmp_path: Path, starts: str) -> None:
    spec = by_rows(make_spec, strategy=DASH, epochs=8, plateau_patience=1, early_stop=6)
    resumes_at_every_epoch(replace(dataset, starts=starts), spec, tmp_path)


def test_side_by_side_each_has_its_bits(dataset: DataSet, make_spec: MakeSpec) -> None:
    made = [
        (replace(dataset, starts=starts), spec(make_spec, seed=seed, strategy=DASH))
        for seed, (starts, spec) in enumerate([(s, c) for s in STARTS for c in (by_rows, lambda m, **k: m(**k))])
    ]
    alone = [Trainer(data, spec).fit() for data, spec in made]
    pack = Pack(threads=2)
    fits = pack.run([Trainer(data, spec).steps(stop=pack.stopping) for data, spec in made])
    for found, wanted in zip(fits, alone, strict=True):
        same(found, wanted)
