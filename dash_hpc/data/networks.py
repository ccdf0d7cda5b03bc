"""Reading networks over a gene list: matrices, lists of edges by name, and triples of 1-based indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from dash_hpc.data.cells import Remarks, is_number
from dash_hpc.data.edgelist import read_edge_list
from dash_hpc.data.matrix import frame_of, is_numeric, orientation, read_matrix
from dash_hpc.data.merge import merge_edges, symmetrised
from dash_hpc.data.record import NetworkRecord
from dash_hpc.data.textfile import Lines, number_table, read_lines
from dash_hpc.errors import PriorError

__all__ = ["read_interactions", "read_network"]


def read_network(
    path: str | Path,
    genes: Sequence[str],
    *,
    columns: Mapping[str, str | int] | None = None,
    key: str = "data.prior_columns",
    directed: bool = True,
) -> tuple[csr_array, NetworkRecord]:
    """Read a directed network over ``genes``.

    The layouts are told apart by their first lines: a list of edges by name, with a header or without; a matrix, bare
    and square or with names around it (row = regulator, column = target, 0 = no edge; a matrix with names may stand
    the other way round); triples ``i,j,weight`` of 1-based gene numbers without header. Duplicate edges are merged
    (see :func:`dash_hpc.data.merge.merge_edges`), edges with an end outside ``genes`` are dropped.

    Parameters
    ----------
    columns : mapping, optional
        Which column is ``regulator``, ``target`` and, if any, ``weight`` and ``sign``: words of the header, or numbers
        counted from 1. Of a matrix, which side: ``{"regulator": "columns", "target": "rows"}``.
    key : str
        What messages call ``columns``.
    directed : bool
        Whether it matters which end of an edge is the regulator.

    Returns
    -------
    network : (G, G) float64 csr_array, regulator × target
    record : NetworkRecord
        What was merged, dropped or recognised, with counts.

    Raises
    ------
    PriorError
        Naming file, line and gene, or asking which column is which.
    """
    return _read(read_lines(path, PriorError), genes, columns, key, directed)


def _read(
    lines: Lines, genes: Sequence[str], columns: Mapping[str, str | int] | None, key: str, directed: bool
) -> tuple[csr_array, NetworkRecord]:
    side = orientation(columns)
    if columns is None or side is not None:
        if _is_bare(lines):
            if side is None and _is_triples(lines, len(genes)):
                return _numbered(lines, genes)
            if int(lines.cells[0]) == 2 != len(lines):
                raise PriorError(
                    f"{lines.path}:1: two columns of numbers: gene numbers need a weight beside them (i,j,weight), and "
                    "gene names that are numbers a header above them (regulator,target)"
                )
            return read_matrix(lines, genes, None, side=side, key=key)
        frame = frame_of(lines, genes)
        if frame is not None:
            return read_matrix(lines, genes, frame, side=side, key=key)
        if side is not None:
            raise PriorError(f"{lines.path}: {key} speaks of rows and columns, but the file is a list, not a matrix")
    merged, record = read_edge_list(lines, genes, columns=columns, key=key, directed=directed)
    return merged.network, record


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
    if not (_is_bare(lines) and _is_triples(lines, len(counted_in))):
        network, record = _read(lines, genes, None, "", directed=False)
        record = replace(record, what="pairs", layout=record.layout.split(",")[0], doubts=())
    else:
        remarks = Remarks(lines.remarks)
        rows, columns, weights = _read_triples(lines, len(counted_in), remarks)
        record = _record(lines, "numbered triples", len(rows), len(genes), remarks)
        record = replace(record, what="pairs")
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


def _is_bare(lines: Lines) -> bool:
    """Whether the first line holds numbers only."""
    return all(is_numeric(cell) for cell in lines.split(1))


def _is_triples(lines: Lines, n_genes: int) -> bool:
    # with three genes a 3 × 3 file is the matrix
    return int(lines.cells[0]) == 3 and not (n_genes == 3 and len(lines) == 3)


def _numbered(lines: Lines, genes: Sequence[str]) -> tuple[csr_array, NetworkRecord]:
    for position, gene in enumerate(genes, start=1):
        if is_number(gene) and gene != str(position):
            raise PriorError(
                f"{lines.path}:1: numbers without a header count genes, but genes are called by numbers here (the "
                f"{position}. is {gene}); put regulator,target,weight above the list to mean names"
            )
    remarks = Remarks(lines.remarks)
    rows, columns, weights = _read_triples(lines, len(genes), remarks)
    merged = merge_edges(rows, columns, weights, len(genes))
    return merged.network, merged.told(_record(lines, "numbered triples", len(rows), len(genes), remarks))


def _record(lines: Lines, layout: str, entries: int, genes: int, remarks: Remarks) -> NetworkRecord:
    return NetworkRecord(Path(lines.path).name, layout, entries, genes, remarks=remarks.sentences())


def _read_triples(
    lines: Lines, n: int, remarks: Remarks
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    what = "gene number, gene number, weight"
    table = number_table(lines, 1, len(lines), lambda number: what, width=3, remarks=remarks)
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
