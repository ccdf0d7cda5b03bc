"""Network files: matrices, edge lists, triples, interactions, and every refusal with its place."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from dash_hpc.data import Prior
from dash_hpc.data.merge import merge_edges
from dash_hpc.data.networks import read_interactions, read_network
from dash_hpc.errors import DataError, PriorError

GENES = ("A", "B", "C", "D")
MATRIX = "0,1,0,0\n0,0,-1,0\n0,0,0.5,0\n0,0,0,0\n"


def write(folder: Path, text: str, name: str = "p.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_square_matrix_is_regulator_by_target(tmp_path: Path) -> None:
    network, record = read_network(write(tmp_path, MATRIX), GENES)
    np.testing.assert_array_equal(network.toarray(), [[0, 1, 0, 0], [0, 0, -1, 0], [0, 0, 0.5, 0], [0, 0, 0, 0]])
    assert network.nnz == 3
    assert network.dtype == np.float64
    assert record.notes() == ()


def test_matrix_in_blocks_equals_the_whole(tmp_path: Path) -> None:
    from dash_hpc.data.textfile import read_lines

    rng = np.random.default_rng(0)
    dense = np.round(rng.random((57, 57)), 3) * (rng.random((57, 57)) < 0.2)
    path = write(tmp_path, "\n".join(",".join(map(str, row)) for row in dense) + "\n")
    lines = read_lines(path)
    blocks = list(lines.blocks(1, 57, size=1000))
    assert len(blocks) > 5
    assert [n for first, last in blocks for n in range(first, last + 1)] == list(range(1, 58))
    assert list(lines.blocks(1, 57, size=1)) == [(n, n) for n in range(1, 58)]
    np.testing.assert_array_equal(read_network(path, [f"g{i}" for i in range(57)])[0].toarray(), dense)


@pytest.mark.parametrize(
    "text",
    [
        "from,to\nA,B\nB,C\n",
        '"from","to"\n"A","B"\n"B","C"\n',
        "reg, aff,prior_weight\nA,B,1\nB, C,1\n",
        "to,from\nB,A\nC,B\n",
        "tf,target\r\nA,B\r\nB,C\r\n",
    ],
)
def test_edge_lists(tmp_path: Path, text: str) -> None:
    network, record = read_network(write(tmp_path, text), GENES)
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[1, 2] = 1
    np.testing.assert_array_equal(network.toarray(), expected)
    assert record.notes() == ()


def test_edge_list_merges_duplicates_and_counts_what_lies_outside(tmp_path: Path) -> None:
    text = "from,to,w\nA,B,0.5\nA,B,-2\nA,B,1\nA,X,1\nY,Z,1\nC,D,0\nD,D,1\n"
    network, record = read_network(write(tmp_path, text), GENES)
    assert {(i, j): w for i, j, w in zip(*network.tocoo().coords, network.data, strict=True)} == {
        (0, 1): 2.0,
        (3, 3): 1.0,
    }
    assert record.notes() == (
        "p.csv: 2 of 7 edges dropped, an end is not among the 4 genes: X, Y, Z",
        "p.csv: 2 entries merged into another of the same edge",
        "p.csv: 1 edge with contradictory signs: the sign is taken as unknown, so positive, with the largest weight",
        "p.csv: 1 entry of weight 0, which is no edge",
    )


def test_names_like_na_are_genes(tmp_path: Path) -> None:
    network, _ = read_network(write(tmp_path, "from,to\nNA,nan\n"), ("NA", "nan"))
    assert network[0, 1] == 1


def test_triples_count_from_one(tmp_path: Path) -> None:
    network, _ = read_network(write(tmp_path, "1,2,1\n4,1,-0.5\n"), GENES)
    expected = np.zeros((4, 4))
    expected[0, 1], expected[3, 0] = 1, -0.5
    np.testing.assert_array_equal(network.toarray(), expected)


def test_three_genes_in_three_lines_are_a_matrix(tmp_path: Path) -> None:
    network, _ = read_network(write(tmp_path, "1,2,1\n0,0,0\n0,0,0\n"), GENES[:3])
    np.testing.assert_array_equal(network.toarray()[0], [1, 2, 1])
    network, _ = read_network(write(tmp_path, "1,2,1\n2,3,1\n"), GENES[:3])
    assert network.nnz == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "0,1\n0,0\n",
            "p.csv: prior matrix must be [4, 4] (regulators × targets, one row and column per gene), got [2, 2]",
        ),
        (
            MATRIX + "0,0,0,0\n",
            "p.csv: prior matrix must be [4, 4] (regulators × targets, one row and column per gene), got [5, 4]",
        ),
        (MATRIX.replace("0,0,-1,0", "0,0,-1"), "p.csv:2: 3 cells, but the other lines have 4 (regulator B)"),
        (MATRIX.replace("-1", "x"), "p.csv:2: cell 3 is 'x', not a finite number (regulator B)"),
        (MATRIX.replace("-1", "inf"), "p.csv:2: cell 3 is 'inf', not a finite number (regulator B)"),
        (MATRIX.replace("0,1,0,0", "0,inf,0,0"), "p.csv:1: cell 2 is 'inf', not a finite number (regulator A)"),
        (
            MATRIX.replace("-1", "NaN"),
            "p.csv:2: cell 3 (regulator B, target C) is empty or NaN; write 0 where there is no edge",
        ),
        (MATRIX.replace("0.5", ""), "p.csv:3: cell 3 (regulator C, target C) is empty or NaN"),
        ("1,2,1\n0,3,1\n", "p.csv:2: gene number 0 is not in 1..4; numbers count from 1 in the order of the gene list"),
        ("1,2,1\n1,5,1\n", "p.csv:2: gene number 5 is not in 1..4"),
        ("1,2,1\n1.5,2,1\n", "p.csv:2: gene number 1.5 is not in 1..4"),
        ("1,2,1\n1,,1\n", "p.csv:2: a cell is empty or NaN; give two gene numbers and a weight"),
        ("1,2,1\n1,3\n", "p.csv:2: 2 cells, but the other lines have 3"),
        (
            "from,to\nX,Y\nX,Z\nA,W\n",
            "p.csv: none of its 3 edges has both ends among the 4 genes; not among them: X, Y, Z (and 1 more); "
            "the genes are A, B, C (and 1 more)",
        ),
        ("from,to\n", "p.csv: no edges after the header line"),
        ("from,to\nA,B\nA\n", "p.csv:3: 1 cell, but the first line has 2"),
        ("from,to\nA,\n", "p.csv:2: a gene name is empty; give regulator and target"),
        ("from,to,w\nA,B,1\nA,C,x\n", "p.csv:3: the weight of A -> C is 'x', not a finite number"),
        ("from,to,w\nA,B,inf\n", "p.csv:2: the weight of A -> B is 'inf', not a finite number"),
        ("from,to,w\nA,B,\n", "p.csv:2: the weight of A -> B is '', not a finite number"),
        ("", "p.csv: the file is empty"),
    ],
)
def test_refusals_name_file_line_and_gene(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(PriorError, match=re.escape(message)) as caught:
        read_network(path, GENES)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_missing_prior_file(tmp_path: Path) -> None:
    with pytest.raises(PriorError, match=r"no\.csv: file not found"):
        read_network(tmp_path / "no.csv", GENES)


def test_interactions_are_stored_once_per_pair_and_become_symmetric(tmp_path: Path) -> None:
    network, record = read_interactions(write(tmp_path, "1,1,1\n1,2,0.5\n4,3,0.2\n"), GENES)
    expected = np.array([[1, 0.5, 0, 0], [0.5, 0, 0, 0], [0, 0, 0, 0.2], [0, 0, 0.2, 0]])
    np.testing.assert_array_equal(network.toarray(), expected)
    assert record.notes() == ()


def test_a_pair_in_both_directions_is_not_doubled(tmp_path: Path) -> None:
    network, record = read_interactions(write(tmp_path, "1,2,0.5\n2,1,0.7\n"), GENES)
    assert network[0, 1] == network[1, 0] == 0.7
    assert record.notes() == ("p.csv: 1 entry merged into another of the same pair",)


def test_interactions_counted_in_a_larger_gene_list(tmp_path: Path) -> None:
    larger = ("X", "D", "A", "Y", "B")
    network, record = read_interactions(write(tmp_path, "2,3,0.5\n3,5,1\n1,2,1\n5,5,0.3\n"), GENES, larger)
    expected = np.zeros((4, 4))
    expected[3, 0] = expected[0, 3] = 0.5
    expected[0, 1] = expected[1, 0] = 1
    expected[1, 1] = 0.3
    np.testing.assert_array_equal(network.toarray(), expected)
    assert record.notes() == ("p.csv: 1 of 4 pairs dropped, an end is not among the 4 genes",)
    with pytest.raises(PriorError, match="none of its 1 pairs lies within the 4 genes"):
        read_interactions(write(tmp_path, "1,4,1\n"), GENES, larger)
    with pytest.raises(PriorError, match=r"p\.csv:1: gene number 6 is not in 1\.\.5"):
        read_interactions(write(tmp_path, "6,4,1\n"), GENES, larger)


def test_interactions_as_matrix_or_by_name(tmp_path: Path) -> None:
    matrix, _ = read_interactions(write(tmp_path, "0,1,0,0\n0,0,0.5,0\n0,0.2,0,0\n0,0,0,0\n"), GENES)
    named, _ = read_interactions(write(tmp_path, "protein1,protein2,score\nA,B,1\nC,B,0.5\n"), GENES)
    expected = np.array([[0, 1, 0, 0], [1, 0, 0.5, 0], [0, 0.5, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(matrix.toarray(), expected)
    np.testing.assert_array_equal(named.toarray(), expected)


def test_negative_interactions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PriorError, match="the interaction of A and B is negative; weights must be 0 or more"):
        read_interactions(write(tmp_path, "1,2,-0.5\n"), GENES)


def test_merge_keeps_the_weight_of_largest_size_in_any_order() -> None:
    entries = [(0, 1, 1.0), (0, 1, 3.0), (1, 0, -0.5), (1, 0, -2.0), (1, 1, -4.0), (1, 1, 1.0), (0, 0, 0.0)]
    for order in itertools.permutations(entries, len(entries)):
        merged = merge_edges(*zip(*order, strict=True), 2)
        # both signs: positive, with the largest size
        np.testing.assert_array_equal(merged.network.toarray(), [[0, 3], [-2, 4]])
        assert (merged.merged, merged.contradictory, merged.zero) == (3, 1, 1)


def test_prior_from_files(tmp_path: Path) -> None:
    genes = write(tmp_path, "gene\nA\nB\nC\nD\n", "genes.csv")
    larger = write(tmp_path, "gene\nD\nC\nB\nA\n", "larger.csv")
    ppi = write(tmp_path, "1,2,1\n", "ppi.csv")
    prior = Prior.read_csv(write(tmp_path, MATRIX), genes, ppi, ppi_genes=larger)
    assert prior.genes == GENES
    assert prior.n_edges == 3
    assert prior.ppi is not None
    assert prior.ppi[3, 2] == prior.ppi[2, 3] == 1
    with pytest.raises(DataError, match="gene names must be distinct"):
        Prior.read_csv(tmp_path / "p.csv", ["A", "A", "B", "C"])
