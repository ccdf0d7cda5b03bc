"""Smoothed starts and the criterion of rows, from a study file to the report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from dash_hpc import open_store
from dash_hpc.cli import app
from dash_hpc.report.collect import collect_levels
from dash_hpc.report.figures import training_curves


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny: str) -> Path:
    """Output folder of a study with both starts and both criteria."""
    place = tmp_path_factory.mktemp("starts")
    text = tiny.replace("validation = 0.34", 'validation = 0.34\nstarts = ["measured", "smoothed"]')
    text = text.replace("epochs = 4", 'epochs = 4\ncriterion = ["pairs", "rows"]')
    (place / "tiny.toml").write_text(text)
    result = call("run", place / "tiny.toml", "--output", place / "out", "--workers", "1")
    assert result.exit_code == 0, result.stderr
    return place / "out"


def test_the_data_block_says_what_was_learnt_for_the_starts(tmp_path: Path) -> None:
    """Of files; of simulated data nothing is made before the runs."""
    assert call("simulate", tmp_path / "data").exit_code == 0
    study = tmp_path / "study.toml"
    files = 'kind = "files"\ntrain = "data/expression_train.csv"\nexpression_noise = 0.05'
    study.write_text(f'[data]\n{files}\n[[strategy]]\nname = "none"\n')
    plain = call("run", study, "--dry-run")
    told = call("run", study, "--dry-run", "--set", "data.starts=smoothed")
    assert plain.exit_code == told.exit_code == 0, told.stderr
    assert "starts:" not in plain.stdout + plain.stderr
    assert "starts:" in told.stdout + told.stderr
    # eleven genes are inputs; with so few trajectories the noise is known to a few per cent
    line = next(line for line in (told.stdout + told.stderr).splitlines() if "starts:" in line)
    found = re.search(r"smoothed; noise ([0-9.]+), 11 genes do not move", line)
    assert found is not None, line
    assert float(found[1]) == pytest.approx(0.05, rel=0.1)


def test_both_errors_are_recorded_where_one_is_asked_for(finished: Path) -> None:
    store = open_store(finished)
    runs = store.runs
    assert (runs["status"] == "done").all()
    by_rows = runs["training.criterion"].astype(str) == "rows"
    smoothed = runs["data.starts"].astype(str) == "smoothed"
    assert runs["validation_mse"].notna().all()
    assert (runs["validation_rows"].notna() == (by_rows | smoothed)).all()
    for run_id in runs.index:
        record = store.record(run_id)
        assert ("validation_rows" in record.history) == by_rows[run_id]
        note = "training and validation steps start from smoothed states, and end at measured ones"
        assert (note in record.notes) == smoothed[run_id]


def test_settings_are_chosen_by_rows_where_all_have_them(finished: Path) -> None:
    shown = call("select", finished)
    assert shown.exit_code == 0
    assert "validation error of rows" in shown.stdout
    levels = json.loads(call("select", finished, "--json").stdout)["levels"]
    errors = {level["level"].get("data.starts"): level["error"] for level in levels}
    assert errors == {"measured": "validation_mse", "smoothed": "validation_rows"}


def test_the_report_shows_both(finished: Path) -> None:
    result = call("report", finished, "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    rows = [row for row in answer["results"] if row["kind"] == "model"]
    assert any("validation_rows" in row and "validation_mse" in row for row in rows)
    assert "valid. rows" in Path(answer["report"]).read_text()


def test_curves_show_the_error_that_decides(finished: Path) -> None:
    """Of a run by rows the curve is that of rows, so that the dot of the kept epoch lies at its lowest point."""
    store = open_store(finished)
    (level,) = [level for level in collect_levels(store) if level.level["data.starts"] == "smoothed"]
    figure = training_curves(level)
    assert figure is not None
    labels = {axis.get_ylabel() for axis in figure.axes}
    drawn = [line.get_ydata() for axis in figure.axes for line in axis.lines]
    shown = {group.setting.get("training.criterion") for group in level.shown_groups()}
    for group in level.shown_groups():
        column = "validation_rows" if group.setting["training.criterion"] == "rows" else "validation_mse"
        for run_id in group.done.index:
            course = np.asarray(store.record(run_id).history[column])
            assert any(len(line) == len(course) and np.array_equal(line, course) for line in drawn)
    names = {"pairs": "validation MSE (log)", "rows": "validation error of rows (log)"}
    assert (names[shown.pop()] if len(shown) == 1 else "validation error (log)") in labels
