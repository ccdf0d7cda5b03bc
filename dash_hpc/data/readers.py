"""Reading and writing the published CSV layouts: gene names and trajectories."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dash_hpc.data.cells import Remarks, clip, count_cells, name
from dash_hpc.data.checks import FloatArray, checked_series
from dash_hpc.data.columns import is_row_number
from dash_hpc.data.genes import default_genes, gene_tuple
from dash_hpc.data.textfile import Lines, number_table, read_lines
from dash_hpc.errors import DataError

__all__ = ["read_gene_names", "read_trajectories", "write_trajectories"]


def read_gene_names(path: str | Path, column: int | None = None, *, heard: list[str] | None = None) -> tuple[str, ...]:
    """Read a gene-name file: a header line, then one gene per line, quoted or not.

    Parameters
    ----------
    path : path
        ``.gz`` too.
    column : int, optional
        Which column to take where there are several, counted from 0. Left out: the first column that has a name in
        the header (R and pandas write row numbers under an empty one) and is not row numbers; in the yeast file that
        is the systematic name.
    heard : list of str, optional
        Takes what was recognised beyond the plain form, a sentence each.

    Raises
    ------
    DataError
        Ragged lines, empty or duplicate names, no such column; names file and line.
    """
    lines = read_lines(path)
    remarks = Remarks(lines.remarks)
    rows = csv.reader(io.StringIO(lines.data.decode()), delimiter=lines.separator, skipinitialspace=True)
    table: list[tuple[int, list[str]]] = []
    try:
        for row in rows:
            number = len(table) + 1
            if rows.line_num != number:
                raise DataError(f"{path}:{number}: a quote is opened and not closed in this line")
            table.append((number, [name(cell) for cell in row]))
    except csv.Error as reason:
        raise DataError(f"{path}:{rows.line_num}: not a CSV file ({reason})") from None
    (_, header), *body = table
    if len(body) > 1 and all(header) and all(len(row) == len(header) + 1 for _, row in body):
        header = ["", *header]  # R does not name its column of row names
        remarks.say("the header has one cell less than the lines: the first column was taken as row names")
    for number, row in body:
        if len(row) != len(header):
            raise DataError(f"{path}:{number}: {count_cells(len(row))}, but the header has {len(header)}")
    if column is None:
        column = _name_column(header, [row for _, row in body], remarks)
    if not 0 <= column < len(header):
        raise DataError(f"{path}:1: there is no column {column}, only 0..{len(header) - 1}")
    first_line: dict[str, int] = {}
    for number, row in body:
        gene = row[column]
        if not gene:
            raise DataError(f"{path}:{number}: the gene name is empty; every gene needs a name")
        if gene in first_line:
            raise DataError(
                f"{path}:{number}: gene {gene} is already named in line {first_line[gene]}; names must be distinct"
            )
        first_line[gene] = number
    if not first_line:
        raise DataError(f"{path}: no gene names after the header line")
    if heard is not None:
        heard.extend(remarks.sentences(path))
    return tuple(first_line)


def _name_column(header: list[str], body: list[list[str]], remarks: Remarks) -> int:
    if len(header) > 1 and not any(header):
        remarks.say("the first line, taken as the header, is empty: names are in column 1")
    named = [k for k, cell in enumerate(header) if cell and not cell.startswith("Unnamed: ")]
    column = next((k for k in named if not is_row_number([row[k] for row in body])), named[0] if named else 0)
    if column != next((k for k, cell in enumerate(header) if cell), 0):
        remarks.say(f"a column of row numbers was passed over, names are in column {column + 1}")
    return column


def read_trajectories(
    path: str | Path, genes: str | Path | Sequence[str] | None = None, *, heard: list[str] | None = None
) -> tuple[tuple[str, ...], list[tuple[FloatArray, FloatArray]]]:
    """Read gene names, and times (T,) and values (T, G) per trajectory; see ``TimeCourse.read_csv``.

    ``heard`` takes what was recognised beyond the plain form, a sentence each.
    """
    lines = read_lines(path, numbers=True)
    remarks = Remarks(lines.remarks)
    n_genes, n_trajectories = _read_header(lines)
    per_trajectory = n_genes + 1
    promised = n_trajectories * per_trajectory
    if len(lines) - 1 != promised:
        raise DataError(
            f"{path}:1: the header promises {n_trajectories} trajectories of {n_genes} genes, that is {promised} lines "
            f"after it (each trajectory ends with a line of times), but there are {len(lines) - 1}"
        )
    names = _names_for(genes, n_genes, str(path), heard)

    def place(number: int) -> str:
        trajectory, row = divmod(number - 2, per_trajectory)
        return f"trajectory {trajectory}, {'times' if row == n_genes else 'gene ' + names[row]}"

    table = number_table(lines, 2, 1 + promised, place, remarks=remarks)
    _refuse_row_numbers(str(path), table, per_trajectory)
    if heard is not None:
        heard.extend(remarks.sentences(path))
    blocks = table.reshape(n_trajectories, per_trajectory, table.shape[1])
    series = []
    for k, block in enumerate(blocks):
        offset = 2 + k * per_trajectory
        series.append(
            checked_series(
                block[-1],
                np.array(block[:-1].T, order="C"),
                names,
                lambda row, k=k, offset=offset: f"{path}:{offset + row}: trajectory {k}",  # type: ignore[misc]
            )
        )
    return names, series


def _read_header(lines: Lines) -> tuple[int, int]:
    cells = lines.split(1)
    if len(cells) >= 2 and all(c.isascii() and c.isdigit() for c in cells[:2]) and not any(cells[2:]):
        # more digits than a file can have lines are no number of genes, and slow to read
        n_genes, n_trajectories = (int(cell) if len(cell) < 20 else 0 for cell in cells[:2])
        if n_genes > 0 and n_trajectories > 0:
            return n_genes, n_trajectories
    raise DataError(
        f"{lines.path}:1: the first line must be 'number of genes,number of trajectories' (350,150), got "
        f"{clip(lines.line(1))}; row numbers, row names and column names are no part of the file"
    )


def _refuse_row_numbers(path: str, table: FloatArray, per_trajectory: int) -> None:
    """A column of row numbers would pass as a time point."""
    if table.shape[1] < 2 or per_trajectory < 3:
        return
    count = np.arange(len(table))
    for period in (len(table), per_trajectory):
        for start in (0, 1, 2):
            if len(count) >= 4 and np.array_equal(table[:, 0], count % period + start):
                raise DataError(
                    f"{path}:2: cell 1 of every line counts {start}, {start + 1}, {start + 2}, …: row numbers are not "
                    "expression; write the file without them"
                )


def _names_for(
    genes: str | Path | Sequence[str] | None, n_genes: int, path: str, heard: list[str] | None
) -> tuple[str, ...]:
    if genes is None:
        return default_genes(n_genes)
    if not isinstance(genes, (str, Path)):
        return gene_tuple(genes, n_genes, path)
    names = read_gene_names(genes, heard=heard)
    if len(names) != n_genes:
        hint = "; its first line is taken as a header" if len(names) == n_genes - 1 else ""
        raise DataError(f"{path}:1: the header says {n_genes} genes, but {genes} names {len(names)}{hint}")
    return names


def write_trajectories(path: str | Path, series: Sequence[tuple[FloatArray, FloatArray]]) -> None:
    """Write times (T,) and values (T, G) per trajectory; see :meth:`dash_hpc.data.TimeCourse.write_csv`."""
    width = max(2, *(len(times) for times, _ in series))
    out = [f"{series[0][1].shape[1]},{len(series)}" + "," * (width - 2)]
    for times, values in series:
        padding = "," * (width - len(times))
        rows = [*values.T.tolist(), times.tolist()]
        # x == x fails for NaN only, which is written as an empty cell
        out.extend(",".join([repr(x) if x == x else "" for x in row]) + padding for row in rows)
    data = ("\n".join(out) + "\n").encode()
    if str(path).endswith(".gz"):
        data = gzip.compress(data, mtime=0)  # no clock in the file: same data, same bytes
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, target)
    except OSError as reason:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written ({reason.strerror or reason})") from None
