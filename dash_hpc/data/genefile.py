"""Files of gene names."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from dash_hpc.data.cells import Remarks, count_cells, name
from dash_hpc.data.columns import is_row_number
from dash_hpc.data.textfile import read_lines
from dash_hpc.errors import DataError

__all__ = ["read_gene_names"]


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
