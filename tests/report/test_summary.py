"""The table a study ends with."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rich.console import Console

from dash_hpc.evaluation import RANKINGS
from dash_hpc.report import summary_rows, summary_table
from dash_hpc.report.collect import collect, mean_sd
from dash_hpc.report.summary import format_metric


def test_rows_are_means_over_seeds_with_controls_below(small_store):
    rows, runs = summary_rows(small_store), small_store.runs
    models = [row for row in rows if row["kind"] == "model"]
    assert [row["label"] for row in models] == [
        "none",
        "imp",
        "bioprune",
        "dash (0.05, 0.01)",
        "dash (0.05, 0.5)",
        "dash (0.5, 0.01)",
        "dash (0.5, 0.5)",
    ]
    mine = runs[(runs["lambda_ppi"] == 0.5) & (runs["lambda_motif"] == 0.01)]
    row = models[5]
    for name in ("sparsity", "balanced_accuracy", "precision", "tpr", "tnr", "auc", "test_mse", "validation_mse"):
        assert row[name] == pytest.approx(np.mean(mine[name]))
        assert row[f"{name}_sd"] == pytest.approx(np.std(mine[name], ddof=1))
    assert (models[1]["n_runs"], models[1]["n_failed"]) == (1, 1)
    assert math.isnan(models[1]["test_mse_sd"])
    assert sum(row["chosen"] for row in models) == 1
    controls = {row["strategy"]: row for row in rows if row["kind"] == "control"}
    of_the_prior = {"prior", "margins", "sources", "shuffled_prior", "reversed_prior", "empty_prior"}
    assert set(controls) == of_the_prior | {*RANKINGS, "bioprune", "shuffled", "persistence"}
    assert controls["prior"]["balanced_accuracy"] == pytest.approx(runs["control_prior_ba"].iloc[0])
    assert controls["persistence"]["test_mse"] == pytest.approx(runs["persistence_mse"].iloc[0])
    # The rankings have as many edges as the chosen model: n / 400 of all pairs, of which TPR and TNR say as much.
    true = collect(small_store).dataset.truth.nnz
    shown = next(row for row in models if row["chosen"])
    for row in (shown, *(controls[key] for key in RANKINGS)):
        edges = row["tpr"] * true + (1 - row["tnr"]) * (400 - true)
        mean = runs.loc[(runs["status"] == "done") & (runs["strategy"] == "dash"), "n_edges"]
        assert mean.min() - 1 < edges < mean.max() + 1
    assert [row["kind"] for row in rows] == ["model"] * 7 + ["control"] * 12


def test_table_prints_the_chosen_row_and_the_controls(small_store):
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(summary_table(small_store))
    text = console.export_text()
    for part in ("sparsity", "BA", "prec.", "TPR", "AUC", "test MSE", "the prior itself", "persistence", "(1 failed)"):
        assert part in text
    material = collect(small_store)
    assert f"{material.chosen.label} ★" in text
    assert material.selection.reason.split(":")[0] in text


def test_a_model_worse_than_no_change_is_called_so(small_store, monkeypatch):
    material = collect(small_store)
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    error = float(np.mean(material.chosen.done["test_mse"]))
    for level, expected in ((error / 2, True), (error * 2, False)):
        monkeypatch.setitem(material.controls, "control_persistence_mse", level)
        console.print(summary_table(small_store))
        assert ("predicts worse than no change" in console.export_text()) is expected


def test_mean_and_spread_ignore_missing_values():
    mean, sd, n = mean_sd([1.0, 3.0, float("nan"), None])
    assert (mean, n) == (2.0, 2)
    assert sd == pytest.approx(math.sqrt(2))
    assert math.isnan(mean_sd([])[0])
    assert math.isnan(mean_sd([1.0])[1])


def test_numbers_are_written_with_their_spread():
    row = {"a": 0.9442, "a_sd": 0.0031, "b": 0.8775, "c": 1.234e-3, "c_sd": 2.0e-4, "d": float("nan")}
    assert format_metric(row, "a", "percent") == "94.4 ± 0.3 %"
    assert format_metric(row, "b", "share") == "0.877" or format_metric(row, "b", "share") == "0.878"
    assert format_metric(row, "c", "error") == "(1.23 ± 0.20)e-3"
    assert format_metric(row, "d", "share") == "–"
    assert format_metric(row, "absent", "share") == "–"
