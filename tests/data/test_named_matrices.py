"""Matrices with names around them: any order, either way round, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dash_hpc.data.networks import read_network
from dash_hpc.data.record import NetworkRecord
from dash_hpc.errors import PriorError

GENES = ("A", "B", "C", "D", "TF", "TG")
# A regulates B and D, B represses C
WANTED = pd.DataFrame(0.0, index=GENES, columns=GENES)
WANTED.loc["A", "B"], WANTED.loc["A", "D"], WANTED.loc["B", "C"] = 1.0, 0.5, -1.0


def read(folder: Path, text: str, **more: object) -> tuple[pd.DataFrame, NetworkRecord]:
    (folder / "m.csv").write_text(text, encoding="utf-8")
    network, record = read_network(folder / "m.csv", GENES, **more)  # type: ignore[arg-type]
    return pd.DataFrame(network.toarray(), index=GENES, columns=GENES), record


def text_of(table: pd.DataFrame, **more: object) -> str:
    return str(table.to_csv(**more))  # type: ignore[call-overload]


@pytest.mark.parametrize("sep", [",", "\t", ";"])
def test_a_square_matrix_is_read_by_its_names(tmp_path: Path, sep: str) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        shuffled = WANTED.loc[rng.permutation(GENES), rng.permutation(GENES)]
        found, record = read(tmp_path, text_of(shuffled, sep=sep))
        pd.testing.assert_frame_equal(found, WANTED)
        assert record.layout == "matrix, rows regulate columns"
        assert "names on both sides" in record.remarks


def test_r_writes_no_corner(tmp_path: Path) -> None:
    rows = [" ".join(f'"{gene}"' for gene in GENES)]
    rows += [f'"{gene}" ' + " ".join(f"{value:g}" for value in WANTED.loc[gene]) for gene in GENES]
    found, _ = read(tmp_path, "\n".join(rows) + "\n")
    pd.testing.assert_frame_equal(found, WANTED)


@pytest.mark.parametrize("corner", ["", "gene", "TF", "regulator"])
def test_the_shorter_side_regulates(tmp_path: Path, corner: str) -> None:
    part = WANTED.loc[["B", "A"]]
    found, record = read(tmp_path, text_of(part, index_label=corner))
    pd.testing.assert_frame_equal(found, WANTED)
    assert "2 rows for 6 genes: taken as the regulators" in record.remarks
    found, record = read(tmp_path, text_of(part.T, index_label=corner))
    pd.testing.assert_frame_equal(found, WANTED)
    assert record.layout == "matrix, columns regulate rows"
    assert "2 columns for 6 genes: taken as the regulators" in record.remarks


def test_sides_of_like_length_are_doubted(tmp_path: Path) -> None:
    _, record = read(tmp_path, text_of(WANTED.loc[["A", "B", "C", "D"]]))
    assert record.doubts[0].startswith("4 rows and 6 columns with other names: rows are taken as the regulators")
    _, record = read(tmp_path, text_of(WANTED))
    assert record.doubts == ()


@pytest.mark.parametrize("named", [True, False])
def test_the_user_says_which_side_regulates(tmp_path: Path, named: bool) -> None:
    text = text_of(WANTED.T, index=named, header=named)
    found, record = read(tmp_path, text, columns={"regulator": "columns", "target": "rows"})
    pd.testing.assert_frame_equal(found, WANTED)
    assert record.layout == "matrix, columns regulate rows"
    found, _ = read(tmp_path, text, columns={"regulator": "rows", "target": "columns"})
    pd.testing.assert_frame_equal(found, WANTED.T)


def test_a_matrix_that_looks_transposed_is_doubted(tmp_path: Path) -> None:
    genes = tuple(f"g{k}" for k in range(30))
    dense = np.zeros((30, 30))
    dense[:2] = 1
    for table, odd in ((dense, False), (dense.T, True)):
        np.savetxt(tmp_path / "m.csv", table, fmt="%g", delimiter=",")
        network, record = read_network(tmp_path / "m.csv", genes)
        np.testing.assert_array_equal(network.toarray(), table)
        assert bool(record.doubts) is odd
    assert record.doubts[0].startswith("30 rows regulate only 2 columns, which is odd")


def test_names_on_one_side_only(tmp_path: Path) -> None:
    order = ["TG", "A", "D", "B", "TF", "C"]
    shuffled = WANTED.loc[order, order]
    for more, remark in (
        ({"index": False}, "names above only: rows taken in the order of the columns"),
        ({"header": False}, "names at the left only: columns taken in the order of the rows"),
    ):
        found, record = read(tmp_path, text_of(shuffled, **more))
        pd.testing.assert_frame_equal(found, WANTED)
        assert remark in record.remarks
    found, record = read(tmp_path, text_of(shuffled.reset_index(drop=True)))
    pd.testing.assert_frame_equal(found, WANTED)
    assert "row numbers at the left: rows taken in the order of the columns" in record.remarks


def test_strangers_are_dropped_and_counted(tmp_path: Path) -> None:
    table = WANTED.copy()
    table.loc["X"] = [1, 0, 0, 0, 0, 0]
    table["b"] = [1, 0, 0, 0, 0, 0, 2.0]
    found, record = read(tmp_path, text_of(table))
    pd.testing.assert_frame_equal(found, WANTED)
    assert (record.entries, record.dropped, record.by_case) == (6, 3, 1)
    assert "m.csv: 3 of 6 edges dropped, an end is not among the 6 genes (1 only by case): b, X" in record.notes()


def test_names_with_blanks_and_quoted_commas(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('"","A ","B,1"\n" A","0","-1"\n"B,1",0,0\n"C",0,0\n')
    network, _ = read_network(tmp_path / "m.csv", ("A", "B,1", "C"), columns={"regulator": "rows", "target": "columns"})
    assert dict(zip(zip(*network.tocoo().coords, strict=True), network.data, strict=True)) == {(0, 1): -1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",A,B,C,A\nA,0,1,0,0\nB,0,0,0,0\n", "m.csv:1: cell 5 names 'A' a second time; names must be distinct"),
        (",A,B,C,D\nA,0,1,0,0\nA,0,0,0,0\n", "m.csv:3: cell 1 names 'A' a second time"),
        (",A,B,C,D\nA,0,1,0,0\nB,0,x,0,0\n", "m.csv:3: cell 3 is 'x', not a finite number (regulator B)"),
        (",A,B,C,D\nA,0,1,0,0\nB,0,,0,0\n", "m.csv:3: cell 3 (regulator B, target B) is empty or NaN; write 0 where"),
        (
            ",X,Y,Z,W\nQ,0,1,0,0\nR,0,0,0,0\n",
            "none of its 1 edges has both ends among the 6 genes; not among them: Q, Y",
        ),
    ],
)
def test_refusals_name_line_and_cell(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PriorError, match=re.escape(message)):
        read(tmp_path, text)


def test_genes_by_factors_of_bacillus(data_root: Path) -> None:
    path = data_root / "bsubtilis" / "gold_standard.tsv.gz"
    table = pd.read_csv(path, sep="\t")
    genes = tuple(table.index)
    assert set(table.columns) - set(genes) == set()
    network, record = read_network(path, genes)
    found = pd.DataFrame(network.toarray()[[genes.index(tf) for tf in table.columns]].T, table.index, table.columns)
    pd.testing.assert_frame_equal(found, table.astype(float))
    assert record.layout == "matrix, columns regulate rows"
