"""Tables of numbers as spreadsheets and programs write them: read as they are meant, said, or refused with the cell."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from dash_hpc.data import TimeCourse
from dash_hpc.data.cells import is_number, name, read_number, sign
from dash_hpc.data.genefile import read_gene_names
from dash_hpc.errors import DataError

PLAIN = "2,2,\n0.1,0.2,0.3\n1,2,3\n0,1,5\n0.4,0.5,\n4,5,\n0,2,\n"
VALUES = [[[0.1, 1], [0.2, 2], [0.3, 3]], [[0.4, 4], [0.5, 5]]]
TIMES = [[0, 1, 5], [0, 2]]


def read(folder: Path, text: str | bytes) -> tuple[TimeCourse, list[str]]:
    path = folder / "x.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    heard: list[str] = []
    return TimeCourse.read_csv(path, heard=heard), heard


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        (PLAIN, None),
        (PLAIN.replace(",", "\t"), "cells are separated by tabs"),
        (PLAIN.replace(",", ";"), "cells are separated by semicolons"),
        (PLAIN.replace(",", ";").replace(".", ","), "5 cells with a decimal comma (first: line 2, cell 1: '0,1')"),
        (PLAIN.replace(",", "\t").replace(".", ","), "5 cells with a decimal comma (first: line 2, cell 1: '0,1')"),
        ("2 2 \n0.1 0.2 0.3\n1 2 3\n0 1 5\n0.4 0.5 NA\n4  5 NA\n0 2 NA\n", None),
        (PLAIN.replace("0.2", '"0.2"').replace("4,5", '"4","5"'), None),
        (re.sub(r"0\.(\d)", r'"0,\1"', PLAIN), "5 cells with a decimal comma (first: line 2, cell 1: '0,1')"),
        (PLAIN.replace("0.2", "\u00a00.2\u202f"), None),
        (PLAIN.replace("0.2", "0.2\u200b"), None),
        (PLAIN.encode("utf-16"), "the file is UTF-16 text"),
        (gzip.compress(PLAIN.replace("\n", "\r\n").encode("utf-8-sig")), None),
    ],
)
def test_other_separators_and_spellings(tmp_path: Path, text: str | bytes, heard: str | None) -> None:
    course, said = read(tmp_path, text)
    for trajectory, values, times in zip(course.trajectories, VALUES, TIMES, strict=True):
        np.testing.assert_array_equal(trajectory.values, values)
        np.testing.assert_array_equal(trajectory.times, times)
    if heard is None:
        assert [note for note in said if "separated" not in note] == []
    else:
        assert f"x.csv: {heard}" in said


@pytest.mark.parametrize(
    "cell",
    [
        "NA ",
        " NA",
        "n/a",
        "N/A",
        "#N/A",
        "null",
        "NULL",
        "None",
        "<NA>",
        "-",
        ".",
        "?",
        "NAN",
        "missing",
        "\u00a0",
        '""',
    ],
)
def test_words_for_a_missing_value(tmp_path: Path, cell: str) -> None:
    course, heard = read(tmp_path, f"2,1\n0.1,{cell},0.3\n1,2,3\n0,1,5\n")
    np.testing.assert_array_equal(course.trajectories[0].values[:, 0], [0.1, np.nan, 0.3])
    assert all("1 cell with another word than NA for a missing value (first: line 2, cell 2" in said for said in heard)
    assert bool(heard) == (cell.strip(' \u00a0"') not in ("", "NA"))


def test_a_missing_value_anywhere_is_found_with_its_true_line(tmp_path: Path) -> None:
    # the acceptance of 'NA ' must not move the line of a fault after it
    text = "2,1\n0.1,NA ,0.3\n1,2,3x\n0,1,5\n"
    with pytest.raises(DataError, match=r"x\.csv:3: cell 3 is '3x', not a finite number \(trajectory 0, gene gene2\)"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1\u202f234.5", 1234.5),
        ("12\u00a0345\u00a0678", 12345678.0),
        ("\u22121.5", -1.5),
        ("\u2212\u00a02", -2.0),
        ("-1e\u22123", -1e-3),
        ("+\u00a00.5", 0.5),
    ],
)
def test_typographic_numbers(tmp_path: Path, cell: str, value: float) -> None:
    course, heard = read(tmp_path, f"1,1\n{cell},7\n0,1\n")
    assert course.trajectories[0].values[0, 0] == value
    assert len(heard) == 1
    assert "line 2, cell 1" in heard[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1;1\n1,234;2,345\n0;1\n", "x.csv:2: cell 1 is '1,234', which may be a decimal comma or mean thousands"),
        ("1;1\n1,23;2.345\n0;1\n", "x.csv:2: cell 1 is '1,23', but cell 2 of line 2 is '2.345' (trajectory 0, gene"),
        ("1;1\n1.234,5;2\n0;1\n", "x.csv:2: cell 1 is '1.234,5', not a finite number"),
        ("1,1\n1 234,2\n0,1\n", "x.csv:2: cell 1 is '1 234', not a finite number (trajectory 0, gene gene1)"),
        ("1,1\n1,2\n0h,1h\n", "x.csv:3: cell 1 is '0h', not a finite number (trajectory 0, times)"),
        ("2,1\nA,0.1,0.2\nB,1,2\nt,0,1\n", "x.csv:2: cell 1 is 'A', not a finite number (trajectory 0, gene gene1)"),
        (",0,1\n0,2,1\n1,0.1,0.2\n", "x.csv:1: the first line must be 'number of genes,number of trajectories'"),
        ("3,1,\n1,0.1,0.2\n2,1,2\n3,1,3\n4,10,11\n", "x.csv:2: cell 1 of every line counts 1, 2, 3, …: row numbers"),
        ("2,2,\n0,1,2\n1,1,2\n2,10,11\n0,1,2\n1,1,2\n2,10,11\n", "x.csv:2: cell 1 of every line counts 0, 1, 2, …"),
        ("999999999999,1\n1\n0\n", "x.csv:1: the header promises 1 trajectories of 999999999999 genes"),
        ("9" * 5000 + ",1\n1\n0\n", "x.csv:1: the first line must be"),
        (b"1,1\n\xa01,2\n0,1\n", r"x.csv:2: cell 1 is '\\xa01', not a finite number (trajectory 0, gene gene1); save"),
    ],
)
def test_what_could_mean_two_things_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("gene\tdescription\nA\tx\nB\ty\n", ("A", "B")),
        (",gene\n0,A\n1,B\n", ("A", "B")),
        ("index,gene\n0,A\n1,B\n", ("A", "B")),
        ("Unnamed: 0;gene\n0;A\n1;B\n", ("A", "B")),
        ('"x"\n"1" "A"\n"2" "B"\n', ("A", "B")),
        ('"x"\n"1","A"\n"2","B"\n', ("A", "B")),
        ("gene\nA\u00a0\n\u200bB\n", ("A", "B")),
        ("gene\nn\u0303\nHLA\u00a0A\n", ("\u00f1", "HLA A")),
        ("gene\n1\n2\n", ("1", "2")),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_gene_name_files(tmp_path: Path, text: str, names: tuple[str, ...], encoding: str) -> None:
    path = tmp_path / "g.csv"
    path.write_text(text, encoding=encoding)
    assert read_gene_names(path) == names


def test_names_that_become_equal_are_repeated(tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("gene\nA\nA\u00a0\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"g\.csv:3: gene A is already named in line 2"):
        read_gene_names(tmp_path / "g.csv")


def test_a_gene_that_is_not_utf8_is_told_with_its_cell(tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_bytes(b"id,gene\n1,A\n2,caf\xe9\n")
    with pytest.raises(DataError, match=re.escape(r"g.csv:3: cell 2 is 'caf\\xe9', not UTF-8 text")):
        read_gene_names(tmp_path / "g.csv")


def test_cells_by_themselves() -> None:
    assert read_number(" 1e3 ") == (1000.0, "")
    assert np.isnan(read_number("NA")[0])
    assert read_number("1e999")[0] == np.inf
    assert [is_number(cell) for cell in ("1", " -.5 ", "", "NA", "inf", "1,5")] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    assert name(" HLA\u202fA ") == "HLA A"
    assert [sign(cell) for cell in ("+", "-", "?", "Activation", "represses")] == [1, -1, 0, 1, -1]
    for cell in ("2", "0", "maybe", "regulates", "nope"):
        with pytest.raises(ValueError, match=cell):
            sign(cell)
