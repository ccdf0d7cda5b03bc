"""docs/extend/reader.md, followed in a scratch copy of the package: a reader is one file and its registration."""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dash_hpc

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(dash_hpc.__file__).parent
SAMPLES = """day,mouse,part,A,B,C
0,m1,train,1,8,
1,m1,train,2,4,3
4,m1,train,3,2,3
0,m2,validation,2,2,6
2,m2,validation,4,4,3
0,m3,train,4,0,1
1,m3,train,2,2,1.5
0,m4,test,1,1,1
3,m4,test,2,2,2
"""
STUDY = """[study]
name = "blood"
{data}
[model]
hidden = 3
[training]
epochs = 3
[[strategy]]
name = "none"
"""


def _blocks() -> dict[str, list[str]]:
    text = (ROOT / "docs" / "extend" / "reader.md").read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for language, block in re.findall(r"```(\w+)\n(.*?)```", text, flags=re.S):
        found.setdefault(language, []).append(block)
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the reader of the page."""
    top = tmp_path_factory.mktemp("tree")
    copy = top / "dash_hpc"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for module in PACKAGE.rglob("*.so"):
        (copy / module.relative_to(PACKAGE)).symlink_to(module)
    reader, registration = _blocks()["python"]
    (copy / "data" / "readers" / "samples.py").write_text(reader, encoding="utf-8")
    registry = copy / "data" / "readers" / "registry.py"
    text = registry.read_text(encoding="utf-8")
    imported, entry = (line for line in registration.splitlines(keepends=True) if "Samples" in line)
    changed = text
    for line, after in ((imported, "import Reader\n"), (entry, "    Text(),\n")):
        assert changed.count(after) == 1
        changed = changed.replace(after, after + line)
    registry.write_text(changed, encoding="utf-8")
    return top


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "blood.samples.csv").write_text(SAMPLES, encoding="utf-8")
    (tmp_path / "study.toml").write_text(STUDY.format(data=_blocks()["toml"][0]), encoding="utf-8")
    return tmp_path


def _run(tree: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def _python(tree: Path, folder: Path, program: str) -> object:
    done = _run(tree, folder, "-c", program)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _changed(one: Path, two: Path) -> tuple[set[str], set[str]]:
    """Files that are new in ``two``, and those that differ."""
    names = {str(path.relative_to(two)) for path in two.rglob("*.py")}
    old = {name for name in names if (one / name).exists()}
    return names - old, {name for name in old if not filecmp.cmp(one / name, two / name, shallow=False)}


def test_the_page_touches_one_file_and_the_registry(tree: Path) -> None:
    new, different = _changed(PACKAGE, tree / "dash_hpc")
    assert new == {"data/readers/samples.py"}
    assert different == {"data/readers/registry.py"}
    lines = [(base / "data/readers/registry.py").read_text().splitlines() for base in (PACKAGE, tree / "dash_hpc")]
    assert len(lines[1]) - len(lines[0]) == 2  # its import and its entry


def test_one_file_gives_genes_times_groups_and_parts(tree: Path, folder: Path) -> None:
    program = (
        "import json, dash_hpc\n"
        "from pathlib import Path\n"
        "from dash_hpc.data import build, digest\n"
        "from dash_hpc.study import load_study\n"
        f"assert dash_hpc.__file__.startswith({str(tree)!r})\n"
        "spec = load_study('study.toml').data_spec()\n"
        "data = build(spec, seed=0, base=Path('.'))\n"
        "parts = [[(t.times.tolist(), t.values.tolist()) for t in part.trajectories]\n"
        "         for part in (data.train, data.validation, data.test)]\n"
        "before = digest(spec, base=Path('.'))\n"
        "Path('blood.samples.csv').open('a').write('\\n')\n"
        "print(json.dumps([spec['train'], data.genes, parts, list(data.notes), before != digest(spec, base=Path('.'))])"
        ".replace('NaN', 'null'))\n"
    )
    keys, genes, parts, notes, other = _python(tree, folder, program)  # type: ignore[misc]
    assert keys == {"file": "blood.samples.csv", "time": "day", "group": "mouse", "split": "part", "scale": "max"}
    assert genes == ["A", "B", "C"]
    # The largest training values are A 4, B 8, C 3.
    m1 = [[0, 1, 4], [[0.25, 1, None], [0.5, 0.5, 1], [0.75, 0.25, 1]]]
    m3 = [[0, 1], [[1, 0, 1 / 3], [0.5, 0.25, 0.5]]]
    m2 = [[0, 2], [[0.5, 0.25, 2], [1, 0.5, 1]]]
    m4 = [[0, 3], [[0.25, 0.125, 1 / 3], [0.5, 0.25, 2 / 3]]]
    assert parts == [[m1, m3], [m2], [m4]]
    assert "each gene was divided by its largest training value" in notes
    assert not any("held out" in note for note in notes)
    assert other


def test_a_study_with_it_runs(tree: Path, folder: Path) -> None:
    done = _run(tree, folder, "-m", "dash_hpc", "run", "study.toml", "--output", "out", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "2 training, 1 validation, 1 test" in done.stderr
    program = (
        "import json, dash_hpc\n"
        "store = dash_hpc.open_store('out')\n"
        "(run,) = store.planned\n"
        "time = store.spec(run)['data']['train']['time']\n"
        "error = store.runs.loc[run, 'test_mse']\n"
        "print(json.dumps([store.counts()['done'], store.network(run).genes, time, error]))\n"
    )
    count, genes, time, error = _python(tree, folder, program)  # type: ignore[misc]
    assert (count, genes, time) == (1, ["A", "B", "C"], "day")
    assert error > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('time = "day"', 'tme = "day"'), "study.toml:9: unknown key data.train.tme; did you mean time?"),
        (('time = "day"\n', ""), "study.toml:7: data.train.time is missing (column of the times)"),
        (('"max"', '"mx"'), 'study.toml:12: data.train.scale = "mx" is unknown; did you mean max?'),
        (('time = "day"', "time = 1"), "study.toml:9: data.train.time = 1 must be text"),
        (('time = "day"', 'time = "hour"'), "blood.samples.csv:1: time = hour is none of the first 3 columns"),
        (("expression_noise", "validation = [0]\nexpression_noise"), "says itself which trajectories are validation"),
        (('"blood.samples', '"no.samples'), "no.samples.csv: file not found; correct data.train"),
    ],
)
def test_mistakes_are_told_in_one_line(tree: Path, folder: Path, change: tuple[str, str], message: str) -> None:
    study = folder / "study.toml"
    text = study.read_text()
    assert change[0] in text
    study.write_text(text.replace(*change))
    done = _run(tree, folder, "-m", "dash_hpc", "run", "study.toml", "--dry-run")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
