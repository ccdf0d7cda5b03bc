"""Trajectory and gene-name files: layouts, round trip, and every refusal with its place."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dash_hpc.data import TimeCourse
from dash_hpc.data.genefile import read_gene_names
from dash_hpc.errors import DataError

GOOD = "2,2,\n0.1,0.2,0.3\n1,2,3\n0,1,5\n0.4,0.5,\n4,5,\n0,2,\n"


def write(folder: Path, text: str | bytes, name: str = "x.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_published_layout_with_padding(tmp_path: Path) -> None:
    course = TimeCourse.read_csv(write(tmp_path, GOOD), genes=["A", "B"])
    assert course.genes == ("A", "B")
    assert [len(t) for t in course.trajectories] == [3, 2]
    np.testing.assert_array_equal(course.trajectories[0].values, [[0.1, 1], [0.2, 2], [0.3, 3]])
    np.testing.assert_array_equal(course.trajectories[1].values, [[0.4, 4], [0.5, 5]])
    np.testing.assert_array_equal(course.trajectories[1].times, [0, 2])


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        "\ufeff" + GOOD,
        GOOD.rstrip("\n"),
        GOOD + "\n\n",
        GOOD.replace("2,2,\n", "2,2\n"),
        GOOD.replace("2,2,\n", '"2", "2",,,,\n'),
        GOOD.replace("0.1,0.2", "1e-1, 0.2"),
        GOOD.replace("0.1,0.2", "+.1,2.0E-01"),
    ],
    ids=["crlf", "cr", "bom", "no-newline", "blank-end", "bare-header", "quoted-header", "exponent", "plus"],
)
def test_harmless_differences_of_form(tmp_path: Path, text: str) -> None:
    course, plain = TimeCourse.read_csv(write(tmp_path, text)), TimeCourse.read_csv(write(tmp_path, GOOD, "y.csv"))
    for a, b in zip(course.trajectories, plain.trajectories, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
        np.testing.assert_array_equal(a.times, b.times)


@pytest.mark.parametrize("empty", ["", " ", "NA", "NaN", "nan"])
def test_an_empty_cell_inside_is_a_missing_value(tmp_path: Path, empty: str) -> None:
    text = f"2,1\n1,{empty},3,4,5\n1,2,3,4,5\n0,1,2,{empty},4\n"
    (trajectory,) = TimeCourse.read_csv(write(tmp_path, text)).trajectories
    np.testing.assert_array_equal(trajectory.values[:, 0], [1, np.nan, 3, 4, 5])
    np.testing.assert_array_equal(trajectory.times, [0, 1, 2, np.nan, 4])


def test_numbers_are_read_to_the_last_bit(tmp_path: Path) -> None:
    numbers = [0.1, 1 / 3, 0.709273549970726, 2.2250738585072014e-308, 1.7976931348623157e308, 5e-324]
    text = f"1,1\n{','.join(map(repr, numbers))}\n0,1,2,3,4,5\n"
    (trajectory,) = TimeCourse.read_csv(write(tmp_path, text)).trajectories
    assert trajectory.values[:, 0].tolist() == numbers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.csv: the file is empty"),
        ("\n \n", "x.csv: the file is empty"),
        (
            "genes\n1\n0\n",
            "x.csv:1: the first line must be 'number of genes,number of trajectories' (350,150), got 'genes'",
        ),
        ("2\n1\n2\n0\n", "x.csv:1: the first line must be"),
        ("2,x\n1\n2\n0\n", "x.csv:1: the first line must be"),
        ("2,1,3\n1,1,1\n2,2,2\n0,1,2\n", "x.csv:1: the first line must be"),
        ("0,1\n0\n", "x.csv:1: the first line must be"),
        ("2.0,1\n1\n2\n0\n", "x.csv:1: the first line must be"),
        ("-2,1\n1\n2\n0\n", "x.csv:1: the first line must be"),
        (
            "3,1\n1,1\n2,2\n0,1\n",
            "x.csv:1: the header promises 1 trajectories of 3 genes, that is 4 lines after it (each trajectory ends "
            "with a line of times), but there are 3",
        ),
        ("2,2\n1,1\n2,2\n0,1\n", "x.csv:1: the header promises 2 trajectories of 2 genes, that is 6 lines"),
        ("2,1\n1,1\n2,2\n0,1\n,\n", "x.csv:1: the header promises 1 trajectories of 2 genes, that is 3 lines"),
        (
            GOOD.replace("1,2,3", "1,2"),
            "x.csv:3: 2 cells, but the other lines have 3 (trajectory 0, gene gene2); pad short lines with empty cells",
        ),
        (GOOD.replace("4,5,\n", "4,5,,6\n"), "x.csv:6: 4 cells, but the other lines have 3 (trajectory 1, gene gene2)"),
        (GOOD.replace("0,1,5", "0,1"), "x.csv:4: 2 cells, but the other lines have 3 (trajectory 0, times)"),
        (
            GOOD.replace("0.4,0.5", "0.4,abc"),
            "x.csv:5: cell 2 is 'abc', not a finite number (trajectory 1, gene gene1); leave a missing value empty",
        ),
        (GOOD.replace("1,2,3", "1,2x,3"), "x.csv:3: cell 2 is '2x', not a finite number (trajectory 0, gene gene2)"),
        (GOOD.replace("1,2,3", "1,1_0,3"), "x.csv:3: cell 2 is '1_0', not a finite number"),
        (GOOD.replace("1,2,3", "1,inf,3"), "x.csv:3: cell 2 is 'inf', not a finite number (trajectory 0, gene gene2)"),
        (GOOD.replace("1,2,3", "1,1e999,3"), "x.csv:3: cell 2 is '1e999', not a finite number"),
        (GOOD.replace("1,2,3", "1,True,3"), "x.csv:3: cell 2 is 'True', not a finite number"),
        (GOOD.replace("0,1,5", "0,1,z"), "x.csv:4: cell 3 is 'z', not a finite number (trajectory 0, times)"),
        (
            GOOD.replace("0,1,5", "0,1,1"),
            "x.csv:4: trajectory 0: time 1 (time point 3) repeats the time before it; times must increase strictly",
        ),
        (GOOD.replace("0,2,", "2,0,"), "x.csv:7: trajectory 1: time 0 (time point 2) comes after 2; times must"),
        (GOOD.replace("0,2,", ",,"), "x.csv:7: trajectory 1: the line of times is empty"),
        (
            b"2,1\n1,2\xa0\n2,2\n0,1\n",
            "x.csv:2: cell 2 is '2\\\\xa0', not a finite number (trajectory 0, gene gene1); save the file as UTF-8",
        ),
        (b"2,1\xa0\n1,2\n2,2\n0,1\n", "x.csv:1: the first line must be"),
        (GOOD.encode("utf-16")[:-1], "x.csv: begins as UTF-16 text, but is not; save the file as UTF-8"),
        (GOOD.encode("utf-16-le"), "x.csv:1: binary data or another encoding than UTF-8"),
        (gzip.compress(GOOD.encode())[:-9], "x.csv: the gzip file is damaged or cut short"),
    ],
)
def test_refusals_name_file_line_and_gene(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        TimeCourse.read_csv(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_the_gene_is_called_by_its_name(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("4,5,\n", "4,x,\n"))
    with pytest.raises(DataError, match=r"x\.csv:6: cell 2 is 'x', .*\(trajectory 1, gene YAL1\)"):
        TimeCourse.read_csv(path, genes=["YAL0", "YAL1"])


@pytest.mark.parametrize("cell", ["1 2", "0x1A", "١", "--1", "1e", "#REF!", "0.\u00a05", "1\u00a02"])
def test_what_is_not_a_number(tmp_path: Path, cell: str) -> None:
    with pytest.raises(DataError, match=rf"x\.csv:2: cell 2 is {re.escape(repr(cell))}, not a finite number"):
        TimeCourse.read_csv(write(tmp_path, f"1,1\n1,{cell},3\n0,1,2\n"))


def test_the_first_bad_cell_of_the_file_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("0.4,0.5", "bad,0.5").replace("1,2,3", "1,2,worse"))
    with pytest.raises(DataError, match=r"x\.csv:3: cell 3 is 'worse'"):
        TimeCourse.read_csv(path)


def test_missing_file_folder_and_false_gzip(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv: file not found"):
        TimeCourse.read_csv(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="is a folder, not a file"):
        TimeCourse.read_csv(tmp_path)
    with pytest.raises(DataError, match=r"x\.csv\.gz: the name ends in \.gz, but the file is not gzip"):
        TimeCourse.read_csv(write(tmp_path, GOOD, "x.csv.gz"))


def test_gene_count_must_fit_the_header(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    with pytest.raises(DataError, match=r"x\.csv: 3 gene names for 2 genes"):
        TimeCourse.read_csv(path, genes=["A", "B", "C"])
    names = write(tmp_path, "gene\nA\nB\nC\n", "names.csv")
    with pytest.raises(DataError, match=r"x\.csv:1: the header says 2 genes, but .*names\.csv names 3$"):
        TimeCourse.read_csv(path, genes=names)
    headless = write(tmp_path, "A\nB\n", "headless.csv")
    with pytest.raises(
        DataError, match=r"says 2 genes, but .*headless\.csv names 1; its first line is taken as a header"
    ):
        TimeCourse.read_csv(path, genes=headless)


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz"])
def test_round_trip_and_equal_bytes(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(3)
    values = [rng.standard_normal((7, 4)), rng.standard_normal((3, 4)), rng.standard_normal((1, 4))]
    values[0][2, 1] = np.nan
    times = [np.cumsum(rng.random(len(v))) for v in values]
    times[0][4] = np.nan
    course = TimeCourse.from_arrays(values, times, genes=list("abcd"))
    course.write_csv(tmp_path / name)
    again = TimeCourse.read_csv(tmp_path / name, genes=list("abcd"))
    for a, b in zip(course.trajectories, again.trajectories, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
        np.testing.assert_array_equal(a.times, b.times)
    first = (tmp_path / name).read_bytes()
    again.write_csv(tmp_path / name)
    assert (tmp_path / name).read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == [name]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_time_course_survives_the_file(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    number = st.floats(allow_nan=False, allow_infinity=False)
    n_genes = data.draw(st.integers(1, 4))
    values, times = [], []
    for _ in range(data.draw(st.integers(1, 3))):
        n = data.draw(st.integers(1, 5))
        block = np.array(data.draw(st.lists(number, min_size=n * n_genes, max_size=n * n_genes))).reshape(n, n_genes)
        hole = data.draw(st.integers(0, n - 1))
        if n > 1:
            block[hole, 0] = np.nan
        values.append(block)
        times.append(sorted(data.draw(st.lists(number, min_size=n, max_size=n, unique=True))))
    course = TimeCourse.from_arrays(values, times)
    path = tmp_path_factory.mktemp("round") / "x.csv"
    course.write_csv(path)
    again = TimeCourse.read_csv(path)
    for a, b in zip(course.trajectories, again.trajectories, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
        np.testing.assert_array_equal(a.times, b.times)


def test_writing_to_a_folder_that_is_not_there(tmp_path: Path) -> None:
    course = TimeCourse.from_arrays([[[1, 2]]], [[0]])
    with pytest.raises(DataError, match=r"cannot write .*x\.csv: No such file"):
        course.write_csv(tmp_path / "no" / "x.csv")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("gene\nA\nB\n", ("A", "B")),
        ('"gene"\n"A"\n"B"\n', ("A", "B")),
        ('"x","name"\n"YAL1W","FUN1"\n"YAL2W","FUN2"\n', ("YAL1W", "YAL2W")),
        ('"","x"\n"1","A"\n"2","B"\n', ("A", "B")),
        ("gene\nNA\nnan\n1\n", ("NA", "nan", "1")),
        ('gene\n"A,1"\n B \n\n', ("A,1", "B")),
    ],
)
def test_gene_name_files(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    assert read_gene_names(write(tmp_path, text)) == names


def test_another_column_of_names(tmp_path: Path) -> None:
    path = write(tmp_path, '"x","name"\n"YAL1W","FUN1"\n')
    assert read_gene_names(path, column=1) == ("FUN1",)
    with pytest.raises(DataError, match=r"x\.csv:1: there is no column 2, only 0\.\.1"):
        read_gene_names(path, column=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gene\nA\nB\nA\n", "x.csv:4: gene A is already named in line 2; names must be distinct"),
        ("gene\nA\n\nB\n", "x.csv:3: 0 cells, but the header has 1"),
        ('gene\nA\n""\nB\n', "x.csv:3: the gene name is empty"),
        ("x,name\nA,B\nC\n", "x.csv:3: 1 cell, but the header has 2"),
        ("gene\n", "x.csv: no gene names after the header line"),
    ],
)
def test_bad_gene_name_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        read_gene_names(write(tmp_path, text))


def test_a_large_file_takes_the_fast_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dash_hpc.data import textfile

    def never(*_: object) -> None:
        raise RuntimeError("the slow path is for locating errors")

    monkeypatch.setattr(textfile, "_slow_table", never)
    rng = np.random.default_rng(0)
    course = TimeCourse.from_arrays([rng.random((300, 500))], [np.arange(300)])
    course.write_csv(tmp_path / "big.csv")
    assert TimeCourse.read_csv(tmp_path / "big.csv").n_genes == 500
