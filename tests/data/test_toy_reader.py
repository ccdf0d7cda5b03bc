"""docs/extend/reader.md, followed in a scratch copy of the package: a reader is one file and its registration."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scratch import Scratch, blocks, follow

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


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    return follow(
        "reader.md", tmp_path_factory.mktemp("tree"), "data/readers/samples.py", "data/readers/registry.py",
        word="Samples", after=("import Reader\n", "    Text(),\n"),
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "blood.samples.csv").write_text(SAMPLES, encoding="utf-8")
    (tmp_path / "study.toml").write_text(STUDY.format(data=blocks("reader.md")["toml"][0]), encoding="utf-8")
    return tmp_path


def test_the_page_touches_one_file_and_the_registry(scratch: Scratch) -> None:
    assert scratch.changes() == ({"data/readers/samples.py"}, {"data/readers/registry.py": 2})


def test_one_file_gives_genes_times_groups_and_parts(scratch: Scratch, folder: Path) -> None:
    program = (
        "import json\n"
        "from pathlib import Path\n"
        "from dash_hpc.data import build, digest\n"
        "from dash_hpc.study import load_study\n"
        "spec = load_study('study.toml').data_spec()\n"
        "data = build(spec, seed=0, base=Path('.'))\n"
        "parts = [[(t.times.tolist(), t.values.tolist()) for t in part.trajectories]\n"
        "         for part in (data.train, data.validation, data.test)]\n"
        "before = digest(spec, base=Path('.'))\n"
        "Path('blood.samples.csv').open('a').write('\\n')\n"
        "print(json.dumps([spec['train'], data.genes, parts, list(data.notes), before != digest(spec, base=Path('.'))])"
        ".replace('NaN', 'null'))\n"
    )
    keys, genes, parts, notes, other = scratch.python(folder, program)
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


def test_a_study_with_it_runs(scratch: Scratch, folder: Path) -> None:
    done = scratch.run(folder, "-m", "dash_hpc", "run", "study.toml", "--output", "out", "--workers", "1")
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
    count, genes, time, error = scratch.python(folder, program)
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
def test_mistakes_are_told_in_one_line(scratch: Scratch, folder: Path, change: tuple[str, str], message: str) -> None:
    study = folder / "study.toml"
    text = study.read_text()
    assert change[0] in text
    study.write_text(text.replace(*change))
    done = scratch.run(folder, "-m", "dash_hpc", "run", "study.toml", "--dry-run")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
