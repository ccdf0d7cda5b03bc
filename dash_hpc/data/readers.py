"""Reading and writing the published CSV layouts: gene names and trajectories."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dash_hpc.data.checks import FloatArray, checked_series
from dash_hpc.data.genes import default_genes, gene_tuple
from dash_hpc.data.textfile import clip, number_table, read_lines
from dash_hpc.errors import DataError

__all__ = ["read_gene_names", "read_trajectories", "write_trajectories"]


def read_gene_names(path: str | Path, column: int | None = None) -> tuple[str, ...]:
    """Read a gene-name file: a header line, then one gene per line, quoted or not.

    Parameters
    ----------
    path : path
        ``.gz`` too.
    column : int, optional
        Which column to take where there are several, counted from 0. Left out: the first column that has a name in
        the header (R writes row numbers under an empty one); in the yeast file that is the systematic name.

    Raises
    ------
    DataError
        Ragged lines, empty or duplicate names, no such column; names file and line.
    """
    lines = read_lines(path)
    rows = csv.reader(io.StringIO(lines.data.decode()), skipinitialspace=True)
    try:
        header = [cell.strip() for cell in next(rows)]
        if column is None:
            column = next((i for i, cell in enumerate(header) if cell), 0)
        if not 0 <= column < len(header):
            raise DataError(f"{path}:1: there is no column {column}, only 0..{len(header) - 1}")
        first_line: dict[str, int] = {}
        for row in rows:
            number = rows.line_num
            if len(row) != len(header):
                raise DataError(f"{path}:{number}: {len(row)} cells, but the header has {len(header)}")
            name = row[column].strip()
            if not name:
                raise DataError(f"{path}:{number}: the gene name is empty; every gene needs a name")
            if name in first_line:
                raise DataError(
                    f"{path}:{number}: gene {name} is already named in line {first_line[name]}; names must be distinct"
                )
            first_line[name] = number
    except csv.Error as reason:
        raise DataError(f"{path}:{rows.line_num}: not a CSV file ({reason})") from None
    if not first_line:
        raise DataError(f"{path}: no gene names after the header line")
    return tuple(first_line)


def read_trajectories(
    path: str | Path, genes: str | Path | Sequence[str] | None = None
) -> tuple[tuple[str, ...], list[tuple[FloatArray, FloatArray]]]:
    """Read gene names, and times (T,) and values (T, G) per trajectory; see ``TimeCourse.read_csv``."""
    lines = read_lines(path)
    n_genes, n_trajectories = _read_header(str(path), lines.line(1))
    names = _names_for(genes, n_genes, str(path))
    per_trajectory = n_genes + 1
    promised = n_trajectories * per_trajectory
    if len(lines) - 1 != promised:
        raise DataError(
            f"{path}:1: the header promises {n_trajectories} trajectories of {n_genes} genes, that is {promised} lines "
            f"after it (each trajectory ends with a line of times), but there are {len(lines) - 1}"
        )

    def place(number: int) -> str:
        trajectory, row = divmod(number - 2, per_trajectory)
        return f"trajectory {trajectory}, {'times' if row == n_genes else 'gene ' + names[row]}"

    table = number_table(lines, 2, 1 + promised, place)
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


def _read_header(path: str, line: str) -> tuple[int, int]:
    cells = [cell.strip().strip('"') for cell in line.split(",")]
    if len(cells) >= 2 and all(c.isascii() and c.isdigit() for c in cells[:2]) and not any(cells[2:]):
        n_genes, n_trajectories = int(cells[0]), int(cells[1])
        if n_genes > 0 and n_trajectories > 0:
            return n_genes, n_trajectories
    raise DataError(
        f"{path}:1: the first line must be 'number of genes,number of trajectories' (350,150), got {clip(line)}"
    )


def _names_for(genes: str | Path | Sequence[str] | None, n_genes: int, path: str) -> tuple[str, ...]:
    if genes is None:
        return default_genes(n_genes)
    if not isinstance(genes, (str, Path)):
        return gene_tuple(genes, n_genes, path)
    names = read_gene_names(genes)
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
