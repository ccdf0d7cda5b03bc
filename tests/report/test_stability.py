"""What seeds agree on, in the report: its numbers from the matrices of the runs spread out."""

from __future__ import annotations

import numpy as np
import pytest

import dash_hpc
from dash_hpc.evaluation import structural_edges
from dash_hpc.report.collect import collect
from dash_hpc.report.stability import agreed_edges, stability, stability_cells, stability_view


@pytest.fixture(scope="module")
def material(small_store):
    return collect(small_store)


def _edges(store, run_id):
    weights = store.weights(run_id)
    masks = weights.pop("masks")
    return np.asarray(structural_edges(weights, masks), dtype=bool)  # target × regulator


def test_frequencies_and_what_they_are_worth_are_those_of_the_networks(material, small_store):
    rows = {row.strategy: row for row in stability(material)}
    assert set(rows) == {"none", "bioprune", "dash"}  # of imp one run of two failed
    dataset = material.dataset
    truth, prior = dataset.truth.toarray().T != 0, dataset.prior.motif.toarray().T != 0
    for name, row in rows.items():
        group = next(group for group in material.shown_groups() if group.strategy == name)
        share = np.mean([_edges(small_store, run_id) for run_id in group.done.index], axis=0)
        found = row.consensus
        assert found.n_runs == 2
        np.testing.assert_allclose(share[found.target, found.regulator], found.frequency)
        assert (share > 0).sum() == len(found)
        assert row.calibration.brier == pytest.approx(np.mean((share - truth) ** 2))
        assert row.missing.share == pytest.approx(share[truth & ~prior].mean())
        assert row.missing.n == (truth & ~prior).sum()
        assert row.spurious.share == pytest.approx(share[prior & ~truth].mean())
        assert row.listed == pytest.approx(share[prior & truth].mean())
        sure = share == 1
        for one in row.fdr:
            assert one.n_taken in (0, sure.sum())  # half of two runs promises half
            if one.n_taken:
                assert one.realised == pytest.approx((sure & ~truth).sum() / sure.sum())


def test_all_settings_have_a_row_where_there_are_several(material):
    rows = stability(material, every_setting=True)
    assert [row.strategy for row in rows] == ["dash"]
    assert rows[0].consensus.n_runs == 8


def test_the_page_has_a_cell_for_every_column_and_the_edges_that_seeds_add(material):
    view = stability_view(material)
    for part in (view["seeds"], view["settings"]):
        assert all(len(line) == len(part["columns"]) for line in part["rows"])
    row = next(row for row in stability(material) if row.strategy == view["strategy"])
    added = agreed_edges(row, 10_000)
    assert all(not edge["in_prior"] and edge["frequency"] >= 0.5 for edge in added)
    assert len(added) == np.count_nonzero(~row.consensus.in_prior & (row.consensus.frequency >= 0.5))
    cell = stability_cells([row])["rows"][0]
    assert cell[2] == (f"{np.count_nonzero(row.consensus.frequency == 1):,}", f"{len(row.consensus):,}")


def test_the_same_can_be_asked_of_a_store(material, small_store):
    ids = small_store.runs.query("status == 'done' and strategy == 'none'").index
    found = dash_hpc.consensus_of(small_store, ids, material.dataset)
    frame = found.frame()
    assert frame["frequency"].is_monotonic_decreasing
    assert {"regulator", "target", "sign_agreement", "effect", "spread", "in_prior", "in_truth"} <= set(frame.columns)
    assert len(frame) == len(found)
