"""What is said before any number: runs made with different things, and errors that nothing beats."""

from __future__ import annotations

import html
import json

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console
from rich.measure import Measurement

from dash_hpc.cli import app
from dash_hpc.report import summary_rows, summary_table, write_report
from dash_hpc.report.alerts import alerts
from dash_hpc.report.collect import collect
from dash_hpc.report.controls import control_rows
from dash_hpc.report.summary import REFERENCE_TFS
from dash_hpc.store import open_store


def printed(store):
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(summary_table(store))
    return " ".join(console.export_text().split())


def imp_only(study_text, *strategies):
    return study_text.split("[[strategy]]")[0] + "".join(f'[[strategy]]\nname = "{name}"\n' for name in strategies)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, make_store, study_text):
    """Two runs of imp by two versions, the second one gone on with by a third."""
    text = imp_only(study_text, "imp")
    later = {"dash_hpc": "9.9.9", "resumed": [{"at": "2026-01-02", "epoch": 2, "before": {"dash_hpc": "0.5.0"}}]}
    return make_store(tmp_path_factory.mktemp("mixed"), text, made_with={1: later})


def test_every_reader_names_all_versions_with_their_counts(mixed, tmp_path):
    revision = "(revision 0123456789ab, changed)"
    first, second = f"dash-hpc 0.1.0 {revision}", f"dash-hpc 0.5.0 {revision}, then dash-hpc 9.9.9 {revision}"
    whole = f"3 versions of the program stand side by side: {first} (1 run); {second} (1 run)"
    page = html.unescape(write_report(mixed, tmp_path).read_text(encoding="utf-8"))
    top = page.split('<nav aria-label="Parts')[0]
    assert f"Results of {whole}; means and standard deviations mix them." in top
    provenance = page.split('<h2 id="provenance">')[1]
    assert f"<dt>Versions of the program</dt><dd>{first}: 1 run; {second}: 1 run</dd>" in provenance
    assert f"Results of {whole}" in printed(mixed)
    for command in ("status", "verify"):
        result = CliRunner().invoke(app, [command, str(mixed.folder)])
        assert f"results of {whole}" in result.stdout, command
    answer = json.loads(CliRunner().invoke(app, ["status", str(mixed.folder), "--json"]).stdout)
    assert answer["mixtures"] == [{"what": "made.program", "runs": {first: 1, second: 1}}]


def test_runs_of_one_kind_raise_no_alarm(small_store, tmp_path):
    page = write_report(small_store, tmp_path).read_text(encoding="utf-8")
    assert "side by side" not in page.split('<h2 id="network">')[0]
    assert "mixture" not in CliRunner().invoke(app, ["status", str(small_store.folder)]).stdout


def test_validation_that_no_strategy_beats_no_change_on_is_said_in_words(small_store, tmp_path, monkeypatch):
    """The models are random, so no change is better than all of them; then it is made worse than one of them."""
    material = collect(small_store)
    done = small_store.runs[small_store.runs["status"] == "done"]
    means = done.groupby(["strategy", "lambda_ppi", "lambda_motif"], dropna=False)["validation_mse"].mean()
    lowest = float(means.min())
    level = float(done["control_persistence_validation_mse"].iloc[0])
    assert lowest > level
    sentence = f"no strategy beats no change (persistence): the lowest mean error is {lowest:.3g}"
    page = write_report(small_store, tmp_path).read_text(encoding="utf-8")
    assert sentence in page.split('<nav aria-label="Parts')[0]
    assert sentence in printed(small_store)
    monkeypatch.setitem(material.controls, "control_persistence_validation_mse", lowest * 1.0001)
    assert alerts([material]) == []
    assert "no strategy beats" not in printed(small_store)
    monkeypatch.setitem(material.controls, "control_persistence_validation_mse", lowest)
    assert "no strategy beats" in printed(small_store)


def test_balanced_accuracy_over_the_references_regulators_stands_in_every_table(small_store, tmp_path):
    rows, runs = summary_rows(small_store), small_store.runs
    for row in rows:
        assert ("balanced_accuracy_reference_tfs" in row) == ("balanced_accuracy" in row), row["label"]
    done = runs[runs["status"] == "done"]
    none = next(row for row in rows if row["label"] == "none")
    column = "balanced_accuracy_reference_tfs"
    assert none[column] == pytest.approx(np.mean(done.loc[done["strategy"] == "none", column]))
    controls = {row["strategy"]: row for row in rows if row["kind"] == "control"}
    # Every source of the prior joined to all genes: among regulators of the reference, all that the prior knows.
    dataset = collect(small_store).dataset
    true, prior = dataset.truth.toarray() != 0, dataset.prior.motif.toarray() != 0
    said = np.repeat(prior.any(axis=1)[:, None], 20, axis=1)[true.any(axis=1)]
    true = true[true.any(axis=1)]
    by_hand = 0.5 * (said[true].mean() + (~said)[~true].mean())
    assert controls["sources"][column] == pytest.approx(by_hand)
    page = html.unescape(write_report(small_store, tmp_path).read_text(encoding="utf-8"))
    assert "<th>BA ref." in page
    assert f"BA ref.: {REFERENCE_TFS}" in page
    assert f"BA ref.: {REFERENCE_TFS}" in printed(small_store)
    assert "balanced accuracy (reference's regulators)" in REFERENCE_TFS


def test_sparsity_stands_on_one_base_beside_the_models_own(tmp_path, make_store, study_text):
    """m = 4 in the study, 9 in the structured models of this store: 4·4·20 = 320 weights against 720."""
    store = make_store(tmp_path / "s", imp_only(study_text, "imp", "structured"))
    rows = {row["label"]: row for row in summary_rows(store) if row["kind"] == "model"}
    for label, own in (("imp", 320), ("structured", 720)):
        counts = []
        for run_id in store.runs.index[store.runs["strategy"] == label]:
            weights = store.weights(run_id)
            alive = weights["v"] > 0
            counts.append(
                sum(int((weights[name] != 0).sum()) for name in ("W_sums", "W_prods"))
                + sum(int((weights[name][alive] != 0).sum()) for name in ("U_sums", "U_prods"))
            )
        assert rows[label]["active_weights"] == np.mean(counts)
        assert rows[label]["study_sparsity"] == pytest.approx(1 - np.mean(counts) / 320)
        assert rows[label]["sparsity"] == pytest.approx(1 - np.mean(counts) / own)
    assert rows["structured"]["sparsity"] > rows["structured"]["study_sparsity"]
    text = printed(store)
    assert "own m" in text
    console = Console(width=1000)
    # As wide as the table was before it had these columns.
    assert Measurement.get(console, console.options, summary_table(store)).maximum <= 120
    assert "4·m·G = 320 weights that the study's m = 4 gives a model" in text
    page = write_report(store).read_text(encoding="utf-8")
    assert "4·m·G = 320 weights" in page
    assert "<th>own m" in page


def test_one_column_of_sparsity_where_all_models_have_one_size(small_store):
    text = printed(small_store)
    assert "own m" not in text
    assert " weights sparsity BA prec. BA ref. TPR AUC test MSE " in text


def test_the_untrained_control_has_its_spread_from_twenty_draws(small_store):
    from dash_hpc.evaluation import bioprune_curve

    material = collect(small_store)
    row = next(row for row in control_rows(material) if row["strategy"] == "bioprune")
    curve = bioprune_curve(
        material.dataset.prior, material.dataset.truth, hidden=4, schedule=material.spec["schedule"],
        seeds=range(20), events=2,
    )  # fmt: skip
    # 12 epochs: events at 3 and 10, and all random models are 75 % sparse, which 73 % is nearest to.
    at = curve[curve["event"] == 1]["balanced_accuracy"]
    assert row["n_runs"] == len(at) == 20
    assert row["balanced_accuracy"] == pytest.approx(np.mean(at))
    assert row["balanced_accuracy_sd"] == pytest.approx(np.std(at, ddof=1))
    assert row["active_weights"] == pytest.approx(320 * 0.27, abs=6)


def test_an_option_that_varies_makes_settings_of_their_own(tmp_path, make_store, study_text):
    text = imp_only(study_text) + '[[strategy]]\nname = "dash"\nlambda_ppi = 0.1\nlambda_motif = 0.1\n'
    store = make_store(tmp_path, text + 'score_norm = ["paper", "unit_sum"]\n')
    material = collect(open_store(store.folder))
    assert [len(group.done) for group in material.groups] == [2, 2]
    assert material.selection.candidates["n_runs"].tolist() == [2, 2]
    best = store.runs.groupby("score_norm")["validation_mse"].mean().idxmin()
    assert material.chosen.label == f"dash, score_norm {best} (0.1, 0.1)"
    assert f"score_norm = {best}" in write_report(store).read_text(encoding="utf-8")
    shown = CliRunner().invoke(app, ["select", str(store.folder)]).stdout
    assert "score_norm" in shown.splitlines()[1]
    assert "of 2 candidates" in shown or "of the 2 candidates" in shown
