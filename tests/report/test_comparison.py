"""The comparison of strategies: its numbers by hand from the table of runs, and published figures beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dash_hpc.report import comparison_figures
from dash_hpc.report.collect import collect
from dash_hpc.report.comparison import compared_cells, comparison, winner
from dash_hpc.report.controls import control_rows
from dash_hpc.report.material import Group
from dash_hpc.report.published import published_of, published_rows


@pytest.fixture(scope="module")
def material(small_store):
    return collect(small_store)


def test_rows_are_the_shown_settings_best_first(material, small_store):
    found = comparison(material)
    runs = small_store.runs
    done = runs[runs["status"] == "done"]
    assert {row.strategy for row in found.rows} == {"none", "imp", "bioprune", "dash"}
    means = [row.values["balanced_accuracy"][0] for row in found.rows]
    assert means == sorted(means, reverse=True)
    assert found.ranks["balanced_accuracy"].rank.tolist() == [1, 2, 3, 4]
    none = next(row for row in found.rows if row.strategy == "none")
    mine = done[done["strategy"] == "none"]
    for measure, column in (("precision", "precision"), ("sparsity", "study_sparsity"), ("out_degree", "out_degree")):
        mean, sd, n = none.values[measure]
        assert (mean, sd, n) == (pytest.approx(mine[column].mean()), pytest.approx(mine[column].std()), 2)
    dash = next(row for row in found.rows if row.strategy == "dash")
    assert dash.group is material.chosen
    assert found.seeds == 2


def test_ranks_follow_the_error_the_other_way_round(material):
    found = comparison(material)
    errors = np.array([row.values["test_mse"][0] for row in found.rows])
    assert found.ranks["test_mse"].rank.tolist() == (errors.argsort().argsort() + 1).tolist()


def test_the_table_has_a_cell_for_every_column_and_its_units(material):
    table = compared_cells(comparison(material))
    assert all(len(line) == len(table["columns"]) for line in table["rows"])
    headings = [heading for heading, _ in table["columns"]]
    for wanted in ("sparsity", "BA", "prec.", "AUC", "out-degree", "test MSE", "epochs to plateau"):
        assert wanted in headings
    assert not table["published"]
    row = comparison(material).rows[0]
    assert table["rows"][0][headings.index("BA")][0] == f"{row.values['balanced_accuracy'][0]:.3f}"
    assert table["rows"][0][headings.index("sparsity")][0] == f"{100 * row.values['sparsity'][0]:.1f}"


def test_the_winner_is_told_with_what_stands_above_it_without_training(material):
    found, controls = comparison(material), control_rows(material)
    text = winner(material, found, controls)
    best = found.rows[0].values["balanced_accuracy"][0]
    assert text.startswith(f"Of 4 strategies {found.rows[0].strategy} has the highest balanced accuracy, {best:.3f}")
    for row in controls:
        if row.get("balanced_accuracy", 0) >= best:
            assert row["label"] in text
    assert f"{best - found.rows[1].values['balanced_accuracy'][0]:.3f} above {found.rows[1].strategy}" in text


def test_published_figures_stand_with_their_origin():
    rows = published_rows(
        {"data": {"kind": "catalogue", "name": "sim350", "expression_noise": 0.025, "prior_noise": 0.05}}
    )
    dash, flow = published_of("dash", rows), published_of("sparseflow", rows)
    assert (dash.sparsity, dash.balanced_accuracy, dash.how) == (
        pytest.approx(0.946), pytest.approx(0.907), "quoted second-hand; the figure agrees",
    )  # fmt: skip
    assert flow is published_of("imp", rows)
    assert flow.texts == ("96 %", "≈ 0.708", "3.6e-3")
    assert published_of("evidence", rows) is None
    for key in ("prior_variant", "prior_withheld", "prior_flipped"):
        changed = {"kind": "catalogue", "name": "sim350", "expression_noise": 0.025, "prior_noise": 0.05, key: 0.2}
        assert published_rows({"data": changed}) == ()


def test_too_few_strategies_are_not_compared(material, monkeypatch):
    few = [group for group in material.shown_groups() if group.strategy != "imp"][:2]
    monkeypatch.setattr(type(material), "shown_groups", lambda self: few)
    assert comparison(material) is None
    assert comparison_figures.ranking(material) is None
    assert comparison_figures.curves(material) is None


def test_many_strategies_have_a_row_and_a_panel_each(material, monkeypatch):
    """Eighteen, of which the figures know no name: a row each, a panel each, nothing left out."""
    base = material.shown_groups()[0]
    groups = tuple(Group(f"strategy {k}", {}, base.runs) for k in range(18))
    monkeypatch.setattr(type(material), "shown_groups", lambda self: list(groups))
    material = replace(material, groups=groups)
    figure = comparison_figures.ranking(material)
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert sorted(labels) == sorted(group.strategy for group in groups)
    panels = [axis.get_title(loc="left") for axis in comparison_figures.curves(material).axes]
    assert [title for title in panels if title] == labels
