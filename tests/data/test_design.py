"""Tables of what was done to the samples: read, kept with the trajectories, and told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dash_hpc.data import Input, TimeCourse, Treatment, build, summarise
from dash_hpc.data.design import read_design, with_design
from dash_hpc.data.splits import split_by_index, split_pairs
from dash_hpc.errors import DataError

GENES = ("A", "B", "C")
TABLE = """trajectory,input,from,to,targets,held
0,drug,2,5,A C,
1,drug,,7.5,A C,
1,light,0,,?,
2,,,,,B
2,,,,,C
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "design.csv"
    path.write_text(text)
    return path


def course(n: int = 3, points: int = 4) -> TimeCourse:
    values = np.random.default_rng(0).random((n, points, len(GENES)))
    return TimeCourse.from_arrays(list(values), [np.arange(float(points))] * n, GENES)


def test_a_table_is_read(tmp_path: Path) -> None:
    found = read_design(written(tmp_path, TABLE), GENES, 4)
    assert found == {
        0: Treatment((Input("drug", 2.0, 5.0, (0, 2)),)),
        1: Treatment((Input("drug", -np.inf, 7.5, (0, 2)), Input("light", 0.0, np.inf, None))),
        2: Treatment((), (1, 2)),
    }


def test_columns_that_are_not_used_may_be_left_out(tmp_path: Path) -> None:
    assert read_design(written(tmp_path, "held,trajectory\nB,1\n"), GENES, 2) == {1: Treatment((), (1,))}
    found = read_design(written(tmp_path, "trajectory\tinput\n0\tdrug\n"), GENES, 2)
    assert found == {0: Treatment((Input("drug"),))}


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("trajectory,inputs\n0,drug\n", ":1:", "'inputs'"),
        ("input,from\ndrug,2\n", ":1:", "trajectory"),
        ("trajectory,from\n0,2\n", ":1:", "input or held"),
        ("trajectory,input\n3,drug\n", ":2:", "0 to 2"),
        ("trajectory,input\n-1,drug\n", ":2:", "0 to 2"),
        ("trajectory,input\n0,drug\n1\n", ":3:", "1 cell"),
        ("trajectory,input,from,to\n0,drug,5,5\n", ":2:", "not after its start"),
        ("trajectory,input,from\n0,drug,soon\n", ":2:", "'soon' is no time"),
        ("trajectory,input,targets\n0,drug,A D\n", ":2:", "'D'"),
        ("trajectory,held\n0,D\n", ":2:", "'D'"),
        ("trajectory,input,held\n0,drug,A\n", ":2:", "either"),
        ("trajectory,input,held\n0,,\n", ":2:", "neither"),
        ("trajectory,input,targets\n0,drug,A\n1,drug,\n", ":3:", "line 2"),
    ],
)
def test_a_fault_is_told_with_its_line(tmp_path: Path, text: str, where: str, what: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError) as told:
        read_design(path, GENES, 3)
    assert str(told.value).startswith(f"{path}{where}")
    assert what in str(told.value)


def test_what_was_done_stays_with_its_trajectory() -> None:
    drug, held = Treatment((Input("drug", 1.0, 2.0, (0,)),)), Treatment((), (2,))
    treated = with_design(course(), {0: drug, 2: held})
    noisy = treated.with_noise(0.1, np.random.default_rng(0))
    train, validation = split_by_index(noisy, [2])
    assert [t.treatment for t in train.trajectories] == [drug, Treatment()]
    assert [t.treatment for t in validation.trajectories] == [held]
    parts, pairs, _ = split_pairs(with_design(course(1), {0: drug}), 1, np.random.default_rng(1))
    assert {t.treatment for t in (*parts.trajectories, *pairs.trajectories)} == {drug}


def test_a_study_names_a_design_and_hears_who_reads_it(tmp_path: Path) -> None:
    course().write_csv(tmp_path / "train.csv")
    (tmp_path / "names.csv").write_text("gene\nA\nB\nC\n")
    written(tmp_path, TABLE)
    spec = {"kind": "files", "train": "train.csv", "genes": "names.csv", "design": "design.csv", "validation": [2]}
    data = build(spec, seed=0, base=tmp_path)
    assert [t.treatment.inputs[0].name for t in data.train.trajectories] == ["drug", "drug"]
    said = "2 inputs, 1 of them with unknown targets, in 2 trajectories"
    assert any(said in note and "other strategies train as if nothing had been done" in note for note in data.notes)
    assert said in summarise(data).facts["design"]
    plain = build({key: value for key, value in spec.items() if key != "design"}, seed=0, base=tmp_path)
    assert not any("design" in note for note in plain.notes)
    assert "design" not in summarise(plain).facts
