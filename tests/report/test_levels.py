"""One study over six data levels: one store, a choice on each level, and a report with facets. Numbers by pandas."""

from __future__ import annotations

import html
import json

import numpy as np
import pytest
from click.testing import CliRunner

from dash_hpc import run_study
from dash_hpc.cli import app
from dash_hpc.report import summary_rows, write_report
from dash_hpc.report.collect import collect_levels
from dash_hpc.report.facets import facet_points
from dash_hpc.study import parse_study

STUDY = """
[study]
name = "levels"
[data]
kind = "simulate"
genes = 12
regulators = 4
edges = 16
trajectories = 8
test_trajectories = 2
validation = 0.34
prior_noise = [0, 0.05, 0.2]
expression_noise = [0, 0.025]
[model]
hidden = 4
[training]
epochs = 5
[schedule]
first_epoch = 2
every = 2
[sweep]
seeds = "0..1"
[[strategy]]
name = "imp"
[[strategy]]
name = "dash"
lambda_ppi = [0.1, 0.9]
lambda_motif = 0.1
"""
LEVEL = ["data.expression_noise", "data.prior_noise"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    place = tmp_path_factory.mktemp("levels")
    return run_study(parse_study(STUDY), output=place / "out", workers=1, progress="none")


def test_all_levels_stand_in_one_store(store):
    runs = store.runs
    assert (runs["status"] == "done").sum() == len(runs) == 6 * (1 + 2) * 2
    assert runs.groupby(LEVEL).size().tolist() == [6] * 6
    # The level is in the results: other noise, other errors; other priors, other controls.
    assert runs.groupby("data.prior_noise")["control_prior_ba"].first().is_monotonic_decreasing
    assert runs.groupby("data.prior_noise")["control_prior_ba"].first().iloc[0] == 1.0


@pytest.mark.parametrize("rule", ["best", "one_se"])
def test_select_chooses_on_each_level_alone(store, rule):
    answer = json.loads(CliRunner().invoke(app, ["select", str(store.folder), "--rule", rule, "--json"]).stdout)
    runs = store.runs[store.runs["strategy"] == "dash"]
    assert [tuple(found["level"][key] for key in LEVEL) for found in answer["levels"]] == list(
        dict.fromkeys(runs[LEVEL].itertuples(index=False, name=None))
    )
    for found in answer["levels"]:
        mine = runs[(runs[LEVEL] == [found["level"][key] for key in LEVEL]).all(axis=1)]
        by = mine.groupby("lambda_ppi")
        table = by["validation_mse"].agg(["mean", "sem"]).join(by["sparsity"].mean()).sort_values("mean")
        limit = table["mean"].iloc[0] + (table["sem"].iloc[0] if rule == "one_se" else 0.0)
        eligible = table[table["mean"] <= limit]
        # As sparse as the sparsest: less than one event of 10 % apart.
        active = 1 - eligible["sparsity"]
        sparse = eligible[active * (1 - 0.95 * 0.1) < active.min() * (1 + 1e-12)]
        assert found["setting"] == {"lambda_ppi": sparse["mean"].idxmin(), "lambda_motif": 0.1}
        assert found["run_id"] in mine.index
        assert [row["n_runs"] for row in found["candidates"]] == [2, 2]
        assert [row["validation_mse"] for row in found["candidates"]] == pytest.approx(table["mean"].tolist())
        assert [row["se"] for row in found["candidates"]] == pytest.approx(table["sem"].tolist())


def test_one_level_can_be_asked_for(store):
    words = ["select", str(store.folder), "--json", "--level", "data.prior_noise=0.2"]
    (first, second) = json.loads(CliRunner().invoke(app, words).stdout)["levels"]
    assert [found["level"]["data.expression_noise"] for found in (first, second)] == [0.0, 0.025]
    (one,) = json.loads(CliRunner().invoke(app, [*words, "--level", "data.expression_noise=0"]).stdout)["levels"]
    assert one == first
    result = CliRunner().invoke(app, ["select", str(store.folder), "--level", "data.prior_noise=0.3"])
    assert result.exit_code == 2
    assert "no such data level (data.expression_noise = 0, data.prior_noise = 0;" in result.stderr
    result = CliRunner().invoke(app, ["select", str(store.folder), "--fit", "x.toml"])
    assert "the study has 6 data levels; name one, such as --level" in result.stderr


def test_rows_are_means_within_a_level(store):
    rows, runs = summary_rows(store), store.runs
    models = [row for row in rows if row["kind"] == "model"]
    assert len(models) == 6 * 3
    for row in models:
        mine = runs[(runs[LEVEL] == [row["level"][key] for key in LEVEL]).all(axis=1)]
        mine = mine[mine["strategy"] == row["strategy"]]
        if row["strategy"] == "dash":
            mine = mine[mine["lambda_ppi"] == row["setting"]["lambda_ppi"]]
        assert row["n_runs"] == len(mine) == 2
        assert row["test_mse"] == pytest.approx(mine["test_mse"].mean())
        assert row["test_mse_sd"] == pytest.approx(mine["test_mse"].std())
    assert sum(row["chosen"] for row in models) == 6


def test_the_report_has_a_facet_per_level_and_a_table(store, tmp_path):
    page = html.unescape(write_report(store, tmp_path).read_text(encoding="utf-8"))
    assert (tmp_path / "figures" / "facets.png").read_bytes().startswith(b"\x89PNG")
    found = facet_points(collect_levels(store))
    assert found.across == "data.prior_noise"
    assert found.panels == [{"data.expression_noise": 0.0}, {"data.expression_noise": 0.025}]
    assert len(found.points) == 6 * 2
    part = page.split('<h2 id="levels">')[1].split('<h2 id="results">')[0]
    for prior in ("0", "0.05", "0.2"):
        for expression in ("0", "0.025"):
            assert f"data.expression_noise = {expression}, data.prior_noise = {prior}</th>" in part
    assert part.count("★") == 6 + 1  # and in the legend
    assert "Varied: data.prior_noise</dt><dd>0, 0.05, 0.2</dd>" in page
    assert "the data level data.expression_noise = 0, data.prior_noise = 0, the first of the study" in page
    chosen = page.split("<h3>On every data level</h3>")[1].split("</table>")[0]
    assert chosen.count('<td class="text">dash</td>') == 6
    again = write_report(store, tmp_path / "again")
    assert again.read_text(encoding="utf-8") == (tmp_path / "index.html").read_text(encoding="utf-8")


def test_points_of_a_section_axis_are_the_best_there(tmp_path):
    """With m = 2 and 4 the setting is chosen over both; at the other m the lowest validation error stands."""
    text = STUDY.replace("[0, 0.05, 0.2]", "0").replace("[0, 0.025]", "0").replace("hidden = 4", "hidden = [2, 4]")
    store = run_study(parse_study(text), output=tmp_path / "out", workers=1, progress="none")
    (level,) = collect_levels(store)
    assert set(level.selections) == {"imp", "dash"}
    assert len(level.selections["dash"].candidates) == 4
    found = facet_points([level])
    assert found.across == "model.hidden"
    runs = store.runs[store.runs["strategy"] == "dash"]
    means = runs.groupby(["model.hidden", "lambda_ppi"])["validation_mse"].mean()
    for place, name, group in found.points:
        if name == "dash" and not group.chosen:
            assert group.setting["lambda_ppi"] == means[place["model.hidden"]].idxmin()
    assert sum(name == "dash" for _, name, _ in found.points) == 2
    assert np.isfinite(means).all()
