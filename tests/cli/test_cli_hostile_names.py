"""A study whose names were chosen to do harm: what every command prints, and the page and figures of its report."""

from __future__ import annotations

import json
import os
import re
import subprocess
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result

from dash_hpc.cli import app
from dash_hpc.data import build
from dash_hpc.ids import spec_id
from dash_hpc.store import RunWriter, open_store, write_plan
from dash_hpc.study import parse_study, plan
from tests.untrained import record

# By code point, as in tests/test_shown.py.
ACTING = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m"
HOSTILE = (
    f"a{ESCAPES}",
    "$\\frac{1}{$",
    "$x$ and $y",
    "[red]r[/red] [/x]",
    "\u202ebidi\u2066",
    "zero\u200bwidth\ufeff",
    "</td><script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>'",
    "{{ 7 * 7 }}{% raw %}",
    "中文 λ é",
    "long" + "g" * 100_000,
    "%s {0} \\u0041 &lt;b&gt;",
)
NAME = f"study {ESCAPES} $x$ [/x] \u202e</h1><script>"
STUDY = """
[study]
name = "replaced"
description = "text </p><script>alert(2)</script> $a$ \\u001b[31m \\u202e"
[data]
kind = "files"
train = "train.csv"
genes = "genes.csv"
prior = "prior.csv"
truth = "prior.csv"
validation = 0.3
[model]
hidden = 4
[training]
epochs = 12
[sweep]
seeds = [0, 1]
[[strategy]]
name = "none"
[[strategy]]
name = "dash"
lambda_ppi = [0.05, 0.5]
lambda_motif = 0.1
"""


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def _data(folder: Path) -> None:
    rng = np.random.default_rng(0)
    n = len(HOSTILE)
    lines = [f"{n},6,,"]
    for _ in range(6):
        lines += [",".join(f"{value:.4f}" for value in row) for row in rng.random((n, 4))] + ["0,2,3,7"]
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    quoted = ['"' + name.replace('"', '""') + '"' for name in HOSTILE]
    (folder / "genes.csv").write_text("\n".join(["gene", *quoted]) + "\n", encoding="utf-8")
    edges = (rng.random((n, n)) < 0.2).astype(int)
    (folder / "prior.csv").write_text("\n".join(",".join(map(str, row)) for row in edges) + "\n")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as somebody else might send it, in a folder whose name is a line of Python and of shell."""
    place = tmp_path_factory.mktemp("hostile")
    _data(place)
    folder = place / f"\"); import os; os.mkdir('owned') #$(touch owned) {ESCAPES} \u202e"
    folder.mkdir()
    study = parse_study(STUDY, base=place)
    runs: list[tuple[str, dict[str, Any]]] = []
    for run in plan(study, "0" * 64):
        spec = dict(run.spec)
        if spec["strategy"]["name"] == "none":
            spec["strategy"] = {"name": f"odd {HOSTILE[0]} {HOSTILE[2]} [/x] {HOSTILE[7]}"}
        runs.append((spec_id(spec), spec))
    write_plan(folder, runs, study=NAME, base=place)
    (folder / "study.toml").write_text(study.to_toml(), encoding="utf-8")
    provenance = {"host": HOSTILE[0], "cpu": HOSTILE[7], "command": ["dash-hpc", "run", HOSTILE[0], "-x", "a b"]}
    for number, (own, spec) in enumerate(runs):
        if number == len(runs) - 1:
            writer = RunWriter(folder, own, spec, provenance)
            writer.begin()
            writer.fail(f"diverged {' '.join(HOSTILE[:11])}\nsecond line")
        else:
            dataset = build(spec["data"], seed=spec["seed"], base=place)
            note = f"note {HOSTILE[0]} {HOSTILE[7]}"
            record(folder, own, spec, dataset, sparsity=0.5, provenance=provenance, notes=(note,))
    (folder / "runs" / "00").mkdir(exist_ok=True)
    (folder / "runs" / "00" / f"{ESCAPES}.h5").write_bytes(b"not a run file")
    (folder / "runs" / "00" / ("0" * 16 + ".h5")).write_bytes(b"not a run file")
    return folder


def harmless(result: Result, *codes: int) -> str:
    """What a command printed on both streams, when nothing in it acts on a terminal."""
    text = result.stdout + result.stderr
    assert result.exit_code in codes, text[-2000:]
    assert "internal error" not in text
    assert "Traceback" not in text
    found = ACTING.search(text)
    assert found is None, repr(text[max(0, found.start() - 60) : found.end() + 20])
    if not text.startswith("{"):  # JSON is for programs: names are whole there
        assert all(len(line) < 2500 for line in text.splitlines())
    return text


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("status", "--json"),
        ("verify",),
        ("verify", "--json"),
        ("select",),
        ("select", "--strategy", f"odd {ESCAPES} [/x]"),
        ("report",),
        ("reindex",),
        ("status", "--debug"),
        ("doctor", "--folder"),
        ("cancel",),
    ],
    ids=lambda words: " ".join(words).encode("ascii", "ignore").decode()[:20].replace("\x1b", ""),
)
def test_what_commands_print_of_a_folder_acts_on_nothing(store: Path, words: tuple[str, ...]) -> None:
    head, *rest = words
    result = call(head, *rest, store) if rest == ["--folder"] else call(head, store, *rest)
    harmless(result, 0, 1, 2, 3)


def test_repeating_and_packing_hostile_runs_acts_on_nothing(store: Path) -> None:
    own = next(iter(open_store(store).planned))
    text = harmless(call("rerun", store, own), 1, 2)
    assert own in text or "odd" in text
    harmless(call("rerun", store, f"x{ESCAPES}"), 2)
    harmless(call("compact", store), 0)
    harmless(call("status", store), 0)


class Page(HTMLParser):
    """Elements by name, attributes, and the text of each ``pre``."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.blocks: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "pre":
            self.blocks.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "pre" and self.blocks:
            self.blocks[-1] += data


@pytest.fixture(scope="module")
def page(store: Path) -> tuple[Page, str]:
    harmless(call("report", store), 0)
    text = (store / "report" / "index.html").read_text(encoding="utf-8")
    parsed = Page()
    parsed.feed(text)
    return parsed, text


def test_no_name_becomes_an_element_of_the_page(page: tuple[Page, str]) -> None:
    parsed, text = page
    assert set(parsed.tags).isdisjoint({"script", "iframe", "object", "embed", "form", "base"})
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]
    sources = [value or "" for tag, name, value in parsed.attributes if tag == "img" and name == "src"]
    assert sources
    assert all(value.startswith("data:image/svg+xml;base64,") for value in sources)
    links = [value or "" for _, name, value in parsed.attributes if name == "href"]
    assert all(value.startswith("#") for value in links)
    assert ACTING.search(text.replace("\n", "")) is None
    assert "{{ 7 * 7 }}" in text
    assert "ggg…ggg" in text
    assert "g" * 1000 not in text


@pytest.mark.parametrize("name", ["tradeoff", "settings_dash", "effects", "trajectories", "training"])
def test_every_figure_is_drawn(store: Path, page: tuple[Page, str], name: str) -> None:
    from PIL import Image

    picture = Image.open(BytesIO((store / "report" / "figures" / f"{name}.png").read_bytes()))
    picture.load()
    assert 200 < picture.width < 6000
    assert 200 < picture.height < 6000
    svg = (store / "report" / "figures" / f"{name}.svg").read_bytes()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert b"<script" not in svg


def test_the_lines_of_python_open_the_folder_and_do_nothing_else(
    store: Path, page: tuple[Page, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = next(block for block in page[0].blocks if "import dash_hpc" in block)
    (tmp_path / store.name).symlink_to(store)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(lines, names)
    assert names["store"].folder.resolve() == store.resolve()
    assert names["D"].shape == (len(HOSTILE), len(HOSTILE))
    assert sorted(os.listdir(tmp_path)) == [store.name]


def test_the_lines_of_shell_go_to_the_folder_and_do_nothing_else(
    store: Path, page: tuple[Page, str], tmp_path: Path
) -> None:
    lines = next(block for block in page[0].blocks if block.startswith("cd "))
    (tmp_path / store.name).mkdir()
    script = lines.replace("dash-hpc run", "printf '%s\\n' \"$PWD\"; printf '%s'")
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, check=True)
    assert os.fsencode(tmp_path / store.name) in done.stdout
    assert done.stdout.endswith(os.fsencode(f"../{store.name}-again"))
    assert sorted(os.listdir(tmp_path)) == [store.name]


def test_a_study_with_hostile_names_is_run_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / f"in {ESCAPES} \u202e"
    folder.mkdir()
    _data(folder)
    file = folder / f"s {ESCAPES}.toml"
    title = json.dumps("n $x$ [x] \u202e' ; rm -rf x")
    few = STUDY.replace('"replaced"', title).replace("epochs = 12", "epochs = 2").replace("[0.05, 0.5]", "0.5")
    few = few.replace("[0, 1]", "[0]").replace("[training]", "[schedule]\nfirst_epoch = 1\n[training]")
    file.write_text(few, encoding="utf-8")
    harmless(call("run", file, "--dry-run", "--output", folder / "out"), 0)
    text = harmless(call("run", file, "--workers", "1", "--output", folder / "out"), 0)
    assert "n $x$ [x] \\u202e" in text
    for log in (folder / "out" / "log").iterdir():
        assert ACTING.search(log.read_text(encoding="utf-8")) is None
    harmless(call("run", file, "--workers", "1", "--output", folder / "out", "--json"), 0)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    harmless(call("submit", file, "--dry-run", "--output", tmp_path / "plain"), 0)
    harmless(call("submit", file, "--dry-run", "--output", folder / "out"), 2)


@pytest.mark.parametrize(
    "words",
    [
        ("init", f"no {ESCAPES}/x.toml"),
        ("init", "x.toml", "--example", ESCAPES),
        ("run", f"no {ESCAPES} \u202e.toml"),
        ("run", "quick.toml", "--set", f"training.{ESCAPES}=1"),
        ("run", "quick.toml", "--set", f"training.epochs={ESCAPES}"),
        ("run", "quick.toml", "--set", f"strategy.{ESCAPES}.x=1"),
        ("run", "quick.toml", "--engine", ESCAPES),
        ("run", "quick.toml", "--device", ESCAPES),
        ("run", "quick.toml", "--part", ESCAPES),
        ("submit", "quick.toml", "--launcher", f"'{ESCAPES}"),
        ("submit", "quick.toml", "--partition", ESCAPES, "--dry-run"),
        ("submit", "quick.toml", "--sbatch", f"--x={ESCAPES}", "--dry-run"),
        ("submit", "quick.toml", "--profile", ESCAPES, "--dry-run"),
        ("cancel", ESCAPES),
        ("status", ESCAPES),
        ("select", ESCAPES),
        ("report", ESCAPES),
        ("verify", ESCAPES),
        ("reindex", ESCAPES),
        ("compact", ESCAPES),
        ("rerun", ESCAPES, ESCAPES),
        ("simulate", f"out {ESCAPES}", "--times", ESCAPES),
        (ESCAPES,),
        ("status", ESCAPES, f"--{ESCAPES}"),
    ],
    ids=lambda words: "-".join(words).encode("ascii", "ignore").decode().translate(dict.fromkeys(range(32)))[:40],
)
def test_what_commands_say_of_hostile_words(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("init", "quick.toml").exit_code == 0
    harmless(call(*words), 2)


def test_files_written_under_hostile_names_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = harmless(call("init", f"s {ESCAPES}'$x.toml"), 0)
    words = text.split("run it with: ")[1].strip()
    done = subprocess.run(["bash", "-c", words.replace("dash-hpc run", "cat")], capture_output=True, check=True)
    assert b"[data]" in done.stdout
    sizes = ["--genes", "8", "--regulators", "3", "--edges", "10", "--trajectories", "4", "--test-trajectories", "0"]
    harmless(call("simulate", f"out {ESCAPES}", *sizes), 0)
