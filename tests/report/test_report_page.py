"""The HTML report: complete, honest about what is missing, alone on its page, the same bytes from the same store."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import pytest

from dash_hpc.report import summary_rows, words, write_report
from dash_hpc.report.collect import collect
from dash_hpc.report.network_tables import network_tables
from dash_hpc.report.published import published_rows
from dash_hpc.store import open_store
from dash_hpc.study import load_study

FIGURES = ("comparison", "curves", "tradeoff", "settings_dash", "effects", "reliability", "trajectories", "training")


class Outline(HTMLParser):
    """Collects headings, image sources, links, and checks that tags close in order."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self):
        super().__init__()
        self.open, self.headings, self.sources = [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.sources += [attrs[key] for key in ("src", "href") if key in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@pytest.fixture(scope="session")
def page(small_store, tmp_path_factory):
    path = write_report(small_store, tmp_path_factory.mktemp("report"))
    return path, path.read_text(encoding="utf-8")


def test_report_repeats_the_block_about_the_data(page, small_store):
    _, text = page
    facts = dict(words.data_facts(collect(small_store)))
    dataset = collect(small_store).dataset
    assert facts["Genes"] == f"{dataset.n_genes:,}"
    assert facts["Prior"].startswith(f"{dataset.prior.motif.nnz:,} edges kept")
    assert facts["Pairs"].startswith(f"{sum(len(t) - 1 for t in dataset.train.trajectories):,} training")
    assert "<h3>The data</h3>" in text
    for label, value in facts.items():
        assert f"<dt>{label}</dt><dd>{value}</dd>" in text


def test_report_has_every_part(page, small_store):
    _, text = page
    outline = Outline()
    outline.feed(text)
    assert outline.open == []
    assert outline.headings == [
        "What was run",
        "Strategies compared",
        "Results, and what no training reaches",
        "How settings were chosen",
        "The network",
        "What several seeds agree on",
        "Prediction",
        "Training",
        "Failed runs",
        "What this cannot say",
        "Provenance",
    ]
    for row in summary_rows(small_store):
        assert f"<td>{row['label']}" in text
    material = collect(small_store)
    assert material.selection.reason in text
    assert material.selection.run_id in text
    assert "dash-hpc run" in text
    assert "random models, no training" in text
    main = network_tables(small_store, material.selection.run_id, material.dataset).regulators[0]
    assert f"<td>{main.gene}</td><td>{main.strength:.2f}</td><td>{main.targets}</td>" in text


def test_failed_runs_stand_with_their_escaped_reason(page, small_store):
    _, text = page
    failed = small_store.runs.index[small_store.runs["status"] == "failed"][0]
    assert failed in text
    assert "diverged at epoch 2 &lt;state&gt; &amp; infinite" in text


def test_report_needs_no_network(page):
    _, text = page
    outline = Outline()
    outline.feed(text)
    jumps = [source for source in outline.sources if source.startswith("#")]
    assert len(jumps) >= 5
    assert all(f'id="{jump[1:]}"' in text for jump in jumps)
    pictures = [source for source in outline.sources if not source.startswith("#")]
    assert len(pictures) == len(FIGURES)
    assert all(source.startswith("data:image/svg+xml;base64,") for source in pictures)
    for source in pictures:
        assert base64.b64decode(source.split(",", 1)[1]).startswith(b"<?xml")
    without_figures = re.sub(r"data:image/[^\"]*", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script", without_figures)


def test_figures_are_files_too_and_repeat_bit_for_bit(page, small_store, tmp_path):
    path, text = page
    again = write_report(open_store(small_store.folder), tmp_path)
    assert again.read_text(encoding="utf-8") == text
    for name in FIGURES:
        for kind, magic in (("png", b"\x89PNG"), ("svg", b"<?xml")):
            first = (path.parent / "figures" / f"{name}.{kind}").read_bytes()
            assert first.startswith(magic)
            assert (tmp_path / "figures" / f"{name}.{kind}").read_bytes() == first
    names = {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
    assert {file.name for file in (tmp_path / "figures").iterdir()} == names


def test_without_a_candidate_there_is_no_selection_and_no_map(tmp_path, make_store, study_text):
    text = study_text.split("[[strategy]]")[0] + '[[strategy]]\nname = "imp"\n'
    store = make_store(tmp_path / "imp", text)
    stale = tmp_path / "imp" / "report" / "figures" / "settings_dash.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of an earlier study")
    path = write_report(store)
    assert path == store.folder / "report" / "index.html"
    page = path.read_text(encoding="utf-8")
    assert "nothing to choose" in page
    assert not stale.exists()
    assert "Failed runs" not in page


def test_a_store_without_finished_runs_still_reports(tmp_path, make_store, study_text):
    text = study_text.split("[[strategy]]")[0] + '[[strategy]]\nname = "imp"\n'
    page = write_report(make_store(tmp_path, text, fail=(0, 1))).read_text(encoding="utf-8")
    assert "No run is done yet" in page
    assert "2 failed" in page


def test_missing_reference_is_said(tmp_path, small_store, make_store, study_text):
    data = tmp_path / "data"
    data.mkdir()
    course = collect(small_store).dataset.train
    course.write_csv(data / "train.csv")
    collect(small_store).dataset.validation.write_csv(data / "validation.csv")
    text = (
        study_text.split("[data]")[0]
        + f"""
[data]
kind = "files"
train = "{data}/train.csv"
validation = "{data}/validation.csv"
[model]
hidden = 4
[training]
epochs = 12
[sweep]
seeds = [0, 1]
[[strategy]]
name = "none"
[[strategy]]
name = "imp"
"""
    )
    page = write_report(make_store(tmp_path / "out", text)).read_text(encoding="utf-8")
    assert "No reference network is known for these data" in page
    assert "nothing here says whether the edges are true" in page
    assert "no test data" in page
    assert "balanced accuracy over" not in page


def test_the_device_is_told_with_what_was_beside_and_why_it_changed():
    assert words._device({}) == "CPU"
    assert words._device({"device": "cpu", "side_by_side": 4}) == "CPU, 4 runs side by side"
    assert words._device({"device": "NVIDIA H200", "side_by_side": 1}) == "GPU, NVIDIA H200"
    moved = [{"epoch": 3, "from": "NVIDIA H200", "to": "cpu", "reason": "out of memory"}]
    assert words._device({"device": "cpu", "moved": moved}) == "CPU; moved there: out of memory"


def test_provenance_reads_as_people_write(page, small_store):
    _, text = page
    told = dict(words.provenance(collect(small_store)))
    assert told["Started"] == "2026-01-02 03:04:05 UTC"
    assert told["Ended"] == "2026-01-02 03:05:06 UTC"
    assert told["Command"] == "dash-hpc run small.toml --set 'sweep.seeds=[0, 1]'"
    assert told["Software"] == "dash-hpc 0.1.0, source revision 0123456789ab with uncommitted changes"
    assert told["Native operators"].startswith("avx2 (built for baseline, avx2;")
    assert "· 2026-01-02</p>" in text
    assert "{" not in " ".join(told.values())


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["/opt/venv/bin/dash-hpc", "run", "a b.toml"], "dash-hpc run 'a b.toml'"),
        (["/x/dash_hpc/__main__.py", "run", "s.toml"], "dash-hpc run s.toml"),
        (["/home/me/study.py", "--fast"], "study.py --fast"),
        ([], ""),
    ],
)
def test_commands_are_told_without_the_place_of_the_program(typed, told):
    assert words._command(typed) == told


def test_the_lines_to_type_work(small_store, monkeypatch):
    material = collect(small_store)
    monkeypatch.chdir(small_store.folder.parent)
    names: dict = {}
    exec(words.in_python(material), names)
    assert names["D"].shape == (20, 20)
    assert 0 < (names["D"] != 0).sum() < 400
    move, start = words.again(material).splitlines()
    assert move.split()[:2] == ["cd", small_store.folder.name]
    assert load_study(small_store.folder / start.split()[2]).name == "small"


def test_a_store_whose_data_are_gone_still_reports(tmp_path, small_store, make_store, study_text):
    course = collect(small_store).dataset
    for part in ("train", "validation"):
        getattr(course, part).write_csv(tmp_path / f"{part}.csv")
    files = f'kind = "files"\ntrain = "{tmp_path}/train.csv"\nvalidation = "{tmp_path}/validation.csv"\n'
    text = f'[study]\nname = "gone"\n[data]\n{files}[model]\nhidden = 4\n[training]\nepochs = 12\n'
    store = make_store(tmp_path / "out", text + '[[strategy]]\nname = "imp"\n')
    (tmp_path / "train.csv").unlink()
    page = write_report(open_store(store.folder)).read_text(encoding="utf-8")
    assert "The data could not be read again" in page
    assert "train.csv" in page
    assert "no change (persistence)" in page


def test_a_large_grid_is_cut_in_the_table_and_whole_in_the_maps(tmp_path, make_store, study_text, monkeypatch):
    monkeypatch.setattr("dash_hpc.report.html._SHOWN_CANDIDATES", 3)
    text = study_text.replace("[0.05, 0.5]", '"0.1..0.3 step 0.1"').replace("[0.01, 0.5]", '"0..0.5 step 0.25"')
    text = (
        text.replace("seeds = [0, 1]", "seeds = [0]")
        .replace("genes = 20", "genes = 12")
        .replace("edges = 30", "edges = 16")
    )
    store = make_store(tmp_path, text)
    page = write_report(store).read_text(encoding="utf-8")
    results = page.split('id="results"')[1].split('<table class="results">')[1].split("</table>")[0]
    assert results.count("<td>dash (") == 3
    assert "★" in results
    assert "… 6 more settings" in results
    assert len(collect(store).selection.candidates) == 9
    assert page.count('<tr class="chosen"') == 2


def test_published_figures_only_beside_the_data_they_are_for():
    right = {"kind": "catalogue", "name": "sim350", "expression_noise": 0.025, "prior_noise": 0.05}
    assert {row.label for row in published_rows({"data": right})} >= {"DASH", "BioPrune"}
    for key, value in (("name", "hema_b"), ("expression_noise", 0.05), ("prior_noise", 0.0), ("kind", "files")):
        assert published_rows({"data": {**right, key: value}}) == ()
