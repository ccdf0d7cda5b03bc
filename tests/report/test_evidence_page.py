"""What the page tells of single edges, and calibration by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.execution import run_study
from dash_hpc.report import write_report
from dash_hpc.report.evidence import view_of
from dash_hpc.report.evidence_figures import calibration, calibration_bins
from dash_hpc.store import Evidence, open_store

FACTS = {
    "mode": "network", "keep": -1.4, "admit": 0.0, "noise": 0.02, "corruption": 0.5, "listed": 4, "new": 1, "taken": 3,
    "expected_fdr": 0.1, "expected_spurious": 2.0, "expected_missing": 1.0, "expected_missed": 0.3, "constant_genes": 2,
    "targets": 5, "decided_targets": 0.8, "median_power": 4.0, "rate": 1.0, "rate_spread": 0.0, "rounds": 3,
}  # fmt: skip


def evidence(**facts: object) -> Evidence:
    """Four listed edges, two of them kept; two others, one taken."""
    log_bf = np.array([5.0, 0.5, -3.0, -9.0, 12.0, 0.1])
    prior = np.array([1.0, 1.0, 1.0, 1.0, -4.0, -4.0])
    edges = {
        "regulator": np.array(["a", "b", "c", "<i>d", "e", "f"], dtype=object),
        "target": np.array(["x", "x", "x", "x", "y", "y"], dtype=object),
        "listed": np.array([True] * 4 + [False] * 2),
        "taken": np.array([True, True, False, False, True, False]),
        "sign": np.array([1, -1, 1, 1, 0, 0]),
        "log_bf": log_bf,
        "prior_log_odds": prior,
        "log_odds": log_bf + prior,
        "probability": 1 / (1 + np.exp(-(log_bf + prior))),
        "effect": np.array([0.5, np.nan, 0.0, -0.1, -0.7, 0.2]),
        "standard_error": np.full(6, 0.05),
        "power": np.full(6, 4.0),
        "verdict": np.array(["supported", "undecided", "refused", "refused", "supported", "undecided"], dtype=object),
        "alike": np.array(["", "c", "b", "", "f", ""], dtype=object),
        "correlation": np.array([np.nan, 0.93, 0.93, np.nan, -0.97, np.nan]),
    }
    return Evidence(edges, {**FACTS, **facts})


def test_edges_are_counted_and_ordered_by_hand() -> None:
    view = view_of(evidence(), np.array([True, True, False, False, True, False]), truth_edges=4)
    assert view.counts == (
        ("listed, kept", 1, 1, 0), ("listed, left out", 0, 0, 2), ("not listed, taken", 1, 0, 0),
    )  # fmt: skip
    assert [(row.regulator, row.arrow, row.in_truth) for row in view.new] == [("e", "⊣", True)]
    assert [row.regulator for row in view.refused] == ["<i>d", "c"]  # those first that the data speak against most
    facts = dict(view.facts)
    assert facts["edges taken"] == "3, of them 1 that the prior does not list"
    assert facts["expected to be wrong"] == "0.3 of the edges taken (10.0 %); by the reference 0"
    assert facts["wrong edges of the prior"] == "2.0 of 4 listed ones (50.0 %); by the reference 2"
    assert facts["edges that the prior lacks"] == "1.0 expected; by the reference 2"
    assert facts["regulators that another gene is like"] == (
        "of 2 edges taken; which of the two it is, the prior decides (most alike: e and f on y, correlation -0.970)"
    )
    assert view.warnings == ()


def test_little_power_and_courses_of_no_network_are_said_first() -> None:
    view = view_of(evidence(median_power=1.2, decided_targets=0.05), None)
    assert "The data have little power: at most 1.2 nats" in view.warnings[0]
    assert "Only 5 % of the targets" in view.warnings[1]
    assert all("reference" not in value for _, value in view.facts)


def test_calibration_bins_by_hand() -> None:
    probability = np.array([0.01, 0.01, 0.01, 0.5, 0.5, 0.99, 1.0, 1.0, 0.985])
    real = np.array([False, False, True, True, True, True, True, False, True])
    found = calibration_bins(probability, real)
    assert [(pytest.approx(mean), pytest.approx(share), n) for mean, share, n in found] == [
        (0.01, 1 / 3, 3), (np.mean([0.99, 1.0, 1.0, 0.985]), 3 / 4, 4),
    ]  # fmt: skip
    assert calibration(evidence(), None) is None


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, study_text: str) -> str:
    folder = tmp_path_factory.mktemp("evidence")
    text = study_text.split("[[strategy]]")[0].replace("seeds = [0, 1]", "seeds = [0]")
    text = text.replace("trajectories = 8", "trajectories = 30")
    (folder / "study.toml").write_text(text + '[[strategy]]\nname = "evidence"\n')
    run_study(folder / "study.toml", output=folder / "out", workers=1, progress="none")
    store = open_store(folder / "out")
    run_id = str(store.runs.index[0])
    assert store.evidence(run_id).facts["taken"] > 0
    return write_report(store).read_text(encoding="utf-8")


def test_the_report_has_a_part_about_evidence(page: str) -> None:
    part = page.split('<h2 id="evidence">')[1].split("<h2")[0]
    for told in (
        "edges taken",
        "wrong edges of the prior",
        "Are probabilities kept?",
        "<b>Power</b>",
        "<b>Verdict.</b>",
    ):
        assert told in part
    assert "Strategy evidence, run <code>" in part
    assert '<a href="#evidence">' in page
    assert "nan" not in part.split("<figure>")[0]
