"""Reading networks over a gene list: square matrices, edge lists by name, and triples of 1-based indices."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_array, vstack

from dash_hpc.data.genes import shorten
from dash_hpc.data.record import NetworkRecord
from dash_hpc.data.textfile import MISSING, Lines, clip, is_number, number_table, read_lines
from dash_hpc.errors import PriorError

__all__ = ["Merged", "canonical", "merge_edges", "read_interactions", "read_network", "symmetrised"]

_REGULATOR = {"from", "reg", "regulator", "source", "tf"}
_TARGET = {"to", "aff", "affected", "target", "gene"}


def read_network(path: str | Path, genes: Sequence[str]) -> tuple[csr_array, NetworkRecord]:
    """Read a directed network over ``genes``.

    Three layouts are told apart by their first line: a square matrix without header (row = regulator, column =
    target, 0 = no edge); an edge list with a header (regulator, target and, if you like, a weight; names); triples
    ``i,j,weight`` of 1-based gene numbers without header. Duplicate edges are merged (the weight of largest size
    stays), edges with an end outside ``genes`` are dropped.

    Returns
    -------
    network : (G, G) float64 csr_array, regulator × target
    record : NetworkRecord
        What was merged, dropped or recognised, with counts.

    Raises
    ------
    PriorError
        Naming file, line and gene.
    """
    lines = read_lines(path, PriorError)
    if _has_header(lines):
        return _read_edge_list(lines, genes)
    record = NetworkRecord(Path(lines.path).name, "matrix", 0, len(genes))
    if _is_triples(lines, len(genes)):
        rows, columns, weights = _read_triples(lines, len(genes))
        merged = merge_edges(rows, columns, weights, len(genes))
        return merged.network, merged.told(replace(record, layout="numbered triples", entries=len(rows)))
    network = _read_matrix(lines, genes)
    return network, replace(record, entries=network.nnz, loops=_loops(network))


def read_interactions(
    path: str | Path, genes: Sequence[str], index_genes: Sequence[str] | None = None
) -> tuple[csr_array, NetworkRecord]:
    """Read undirected interactions (protein-protein, PPI) over ``genes``, in the layouts of :func:`read_network`.

    A pair may be stored once or in both directions: the result is symmetric, with the larger of the two weights.

    Parameters
    ----------
    index_genes : sequence of str, optional
        The list that the numbers in a file of triples count in, where it is not ``genes`` itself. Pairs with an
        end outside ``genes`` are dropped.

    Raises
    ------
    PriorError
        Besides the errors of :func:`read_network`: negative weights, no pair within ``genes``.
    """
    lines = read_lines(path, PriorError)
    counted_in = genes if index_genes is None else index_genes
    if _has_header(lines) or not _is_triples(lines, len(counted_in)):
        network, record = read_network(path, genes)
        record = replace(record, what="pairs")
    else:
        rows, columns, weights = _read_triples(lines, len(counted_in))
        record = NetworkRecord(Path(lines.path).name, "numbered triples", len(rows), len(genes), "pairs")
        if index_genes is not None:
            position = {name: i for i, name in enumerate(genes)}
            mapping = np.array([position.get(name, -1) for name in index_genes], dtype=np.int64)
            rows, columns = mapping[rows], mapping[columns]
            inside = (rows >= 0) & (columns >= 0)
            if not inside.any():
                raise PriorError(
                    f"{path}: none of its {len(rows)} pairs lies within the {len(genes)} genes; "
                    "check the gene list that the numbers count in"
                )
            record = replace(record, dropped=int((~inside).sum()))
            rows, columns, weights = rows[inside], columns[inside], weights[inside]
        low, high = np.minimum(rows, columns), np.maximum(rows, columns)
        merged = merge_edges(low, high, weights, len(genes))
        network, record = merged.network, merged.told(record)
    if network.nnz and network.data.min() < 0:
        i, j = (int(index[np.argmin(network.data)]) for index in network.tocoo().coords)
        raise PriorError(f"{path}: the interaction of {genes[i]} and {genes[j]} is negative; weights must be 0 or more")
    return symmetrised(network), record


@dataclass(frozen=True, eq=False)
class Merged:
    """A network of which every edge was given once or more.

    Attributes
    ----------
    network : (n, n) float64 csr_array
        Without stored zeros.
    merged : int
        Entries that went into another one.
    contradictory : int
        Edges that were given with both signs.
    zero : int
        Entries of weight 0.
    """

    network: csr_array
    merged: int
    contradictory: int
    zero: int

    def told(self, record: NetworkRecord) -> NetworkRecord:
        """Return the record with these counts."""
        return replace(
            record,
            merged=self.merged,
            contradictory=self.contradictory,
            zero=self.zero,
            loops=_loops(self.network),
        )


def merge_edges(rows: ArrayLike, columns: ArrayLike, weights: ArrayLike, n: int) -> Merged:
    """Make an (n, n) network with one entry per edge: the weight of largest size, whatever the order of the entries.

    An edge that is given with both signs has none that is known: it is positive, as in a list without signs.
    """
    i, j = np.asarray(rows, dtype=np.int64), np.asarray(columns, dtype=np.int64)
    w = np.asarray(weights, dtype=np.float64)
    place, which = np.unique(i * n + j, return_inverse=True)
    highest, lowest = np.zeros(len(place)), np.zeros(len(place))
    np.maximum.at(highest, which, w)
    np.minimum.at(lowest, which, w)
    both = (highest > 0) & (lowest < 0)
    size = np.maximum(highest, -lowest)
    value = np.where((lowest < 0) & ~both, -size, size)
    network = canonical(coo_array((value, (place // n, place % n)), shape=(n, n)))
    return Merged(network, len(w) - len(place), int(both.sum()), int((w == 0).sum()))


def _loops(network: csr_array) -> int:
    return int(np.count_nonzero(network.diagonal()))


def canonical(network: object) -> csr_array:
    """A float64 copy in CSR with sorted indices and without stored zeros: equal networks have equal arrays."""
    result = csr_array(network, dtype=np.float64, copy=True)
    result.sum_duplicates()
    result.eliminate_zeros()
    result.sort_indices()
    return result


def symmetrised(network: csr_array) -> csr_array:
    """The larger of each entry and its mirror image; for weights of 0 or more."""
    return canonical(network.maximum(network.T.tocsr()))


def _has_header(lines: Lines) -> bool:
    return not all(cell.strip() in MISSING or _is_numeric(cell) for cell in lines.line(1).split(","))


def _is_numeric(cell: str) -> bool:
    return is_number(cell) or cell.strip().lower().lstrip("+-") in ("inf", "infinity")


def _is_triples(lines: Lines, n_genes: int) -> bool:
    # with three genes a 3 × 3 file is the matrix
    return int(lines.cells[0]) == 3 and not (n_genes == 3 and len(lines) == 3)


def _read_matrix(lines: Lines, genes: Sequence[str]) -> csr_array:
    n, width = len(genes), int(np.argmax(np.bincount(lines.cells)))
    if len(lines) != n or width != n:
        raise PriorError(
            f"{lines.path}: prior matrix must be [{n}, {n}] (regulators × targets, one row and column per gene), "
            f"got [{len(lines)}, {width}]"
        )
    blocks = []
    for first, last in lines.blocks(1, n):
        table = number_table(lines, first, last, lambda number: f"regulator {genes[number - 1]}", width=n)
        missing = np.argwhere(np.isnan(table))
        if len(missing):
            row, column = (int(k) for k in missing[0])
            raise PriorError(
                f"{lines.path}:{first + row}: cell {column + 1} (regulator {genes[first + row - 1]}, target "
                f"{genes[column]}) is empty or NaN; write 0 where there is no edge"
            )
        blocks.append(csr_array(table))
    return canonical(vstack(blocks, format="csr"))


def _read_triples(lines: Lines, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    table = number_table(lines, 1, len(lines), lambda number: "gene number, gene number, weight", width=3)
    missing = np.isnan(table).any(axis=1)
    if missing.any():
        raise PriorError(
            f"{lines.path}:{int(np.argmax(missing)) + 1}: a cell is empty or NaN; give two gene numbers and a weight"
        )
    index = table[:, :2]
    outside = (index < 1) | (index > n) | (index != np.floor(index))
    if outside.any():
        row, column = (int(k) for k in np.argwhere(outside)[0])
        raise PriorError(
            f"{lines.path}:{row + 1}: gene number {index[row, column]:g} is not in 1..{n}; numbers count from 1 "
            "in the order of the gene list"
        )
    whole = index.astype(np.int64) - 1
    return whole[:, 0], whole[:, 1], table[:, 2]


def _read_edge_list(lines: Lines, genes: Sequence[str]) -> tuple[csr_array, NetworkRecord]:
    path = lines.path
    reader = csv.reader(io.StringIO(lines.data.decode()), skipinitialspace=True)
    position = {name: i for i, name in enumerate(genes)}
    rows, columns, weights = [], [], []
    unknown: dict[str, None] = {}
    total = 0
    try:
        source, target, width = _edge_columns(path, next(reader))
        for row in reader:
            if len(row) != width:
                raise PriorError(f"{path}:{reader.line_num}: {len(row)} cells, but the header has {width}")
            total += 1
            names = row[source].strip(), row[target].strip()
            if not (names[0] and names[1]):
                raise PriorError(f"{path}:{reader.line_num}: a gene name is empty; give regulator and target")
            weight = 1.0
            if width == 3:
                text = row[2].strip()
                if not is_number(text) or not np.isfinite(float(text)):
                    raise PriorError(
                        f"{path}:{reader.line_num}: the weight of {names[0]} -> {names[1]} is {clip(text)}, "
                        "not a finite number"
                    )
                weight = float(text)
            inside = True
            for name in names:
                if name not in position:
                    unknown[name] = None
                    inside = False
            if inside:
                rows.append(position[names[0]])
                columns.append(position[names[1]])
                weights.append(weight)
    except csv.Error as reason:
        raise PriorError(f"{path}:{reader.line_num}: not a CSV file ({reason})") from None
    if total == 0:
        raise PriorError(f"{path}: no edges after the header line")
    if not rows:
        raise PriorError(
            f"{path}: none of its {total} edges has both ends among the {len(genes)} genes; not among them: "
            f"{shorten(list(unknown))}; the genes are {shorten(list(genes))}; check the gene-name file"
        )
    merged = merge_edges(rows, columns, weights, len(genes))
    record = NetworkRecord(Path(path).name, "edge list", total, len(genes), dropped=total - len(rows))
    return merged.network, merged.told(record)


def _edge_columns(path: str, header: list[str]) -> tuple[int, int, int]:
    names = [cell.strip().lower() for cell in header]
    if len(names) not in (2, 3):
        raise PriorError(
            f"{path}:1: an edge list has a header and 2 or 3 columns (regulator, target, weight), got {len(names)}; "
            "a matrix has no header"
        )
    if names[0] in _TARGET and names[1] in _REGULATOR:
        return 1, 0, len(names)
    return 0, 1, len(names)
