"""Cross-validation from the command line: folds, the choice over them, and the final fit on all training data."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from dash_hpc import open_store
from dash_hpc.cli import app
from dash_hpc.data import build

_FOLDS = ["--set", "data.validation={folds=3}", "--set", "training.epochs=6", "--set", "schedule.every=2"]


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp("folds")
    (folder / "tiny.toml").write_text(tiny)
    result = call("run", folder / "tiny.toml", *_FOLDS, "--output", folder / "out", "--workers", "1")
    assert result.exit_code == 0, result.stderr
    return folder


def test_the_choice_is_over_the_folds_means(place):
    runs = open_store(place / "out").runs
    assert len(runs) == 3 * 3 * 2
    (found,) = json.loads(call("select", place / "out", "--rule", "best", "--json").stdout)["levels"]
    dash = runs[runs["strategy"] == "dash"]
    by_fold = dash.groupby(["lambda_ppi", "data.validation.fold"])["validation_mse"].mean().unstack()
    means = by_fold.mean(axis=1).sort_values()
    assert found["setting"]["lambda_ppi"] == means.index[0]
    assert [row["validation_mse"] for row in found["candidates"]] == pytest.approx(means.tolist())
    assert [row["se"] for row in found["candidates"]] == pytest.approx(by_fold.sem(axis=1)[means.index].tolist())
    assert [row["n_folds"] for row in found["candidates"]] == [3, 3]


def test_the_final_fit_trains_on_everything_for_as_long_as_the_folds_did(place):
    chosen = call("select", place / "out", "--fit", place / "final.toml")
    assert chosen.exit_code == 0, chosen.stderr
    assert f"dash-hpc run {place / 'final.toml'}" in chosen.stdout
    again = call("select", place / "out", "--fit", place / "final.toml")
    assert (again.exit_code, "exists and stays as it is" in again.stderr) == (2, True)
    ran = call("run", place / "final.toml", "--output", place / "final", "--workers", "1")
    assert ran.exit_code == 0, ran.stderr
    store, before = open_store(place / "final"), open_store(place / "out").runs
    (found,) = json.loads(call("select", place / "out", "--json").stdout)["levels"]
    mine = before[(before["strategy"] == "dash") & (before["lambda_ppi"] == found["setting"]["lambda_ppi"])]
    epochs = round(mine.groupby("data.validation.fold")["epoch"].mean().mean())
    runs = store.runs
    assert runs["seed"].tolist() == [0, 1]
    assert runs["lambda_ppi"].tolist() == [found["setting"]["lambda_ppi"]] * 2
    # The last epoch is kept, whatever its error; nothing stops before.
    assert runs["epoch"].tolist() == runs["epochs"].tolist() == [epochs, epochs]
    data = build(store.spec(runs.index[0])["data"], seed=0, base=place)
    assert len(data.train) == len(data.validation) == 6
    history = store.history(runs.index[0])
    assert runs["validation_mse"].iloc[0] == pytest.approx(history["validation_mse"].iloc[-1], rel=1e-3)
    refused = call("select", place / "final")
    assert (refused.exit_code, "trained on all trajectories" in refused.stderr) == (2, True)
    page = (place / "final" / "report" / "index.html").read_text(encoding="utf-8")
    assert "All trajectories train: the validation error is that of the training data" in page


def test_a_final_fit_needs_folds(place, tiny):
    (place / "plain.toml").write_text(tiny)
    call("run", place / "plain.toml", "--set", "training.epochs=2", "--output", place / "plain", "--workers", "1")
    result = call("select", place / "plain", "--fit", place / "x.toml")
    assert result.exit_code == 2
    assert "a final fit belongs to cross-validation: say validation = { folds = 5 } in [data]" in result.stderr
    assert not (place / "x.toml").exists()
