"""Reading and writing trajectories in the layout of the published CSV files."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dash_hpc.data.cells import Remarks, clip
from dash_hpc.data.checks import FloatArray, checked_series
from dash_hpc.data.genefile import read_gene_names
from dash_hpc.data.genes import default_genes, gene_tuple
from dash_hpc.data.textfile import Lines, number_table, read_lines
from dash_hpc.errors import DataError, StoreError

__all__ = ["read_trajectories", "trajectories_bytes", "write_trajectories"]


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
    from dash_hpc.store.publish import publish_bytes  # here: reading does without the store

    data = trajectories_bytes(series)
    if str(path).endswith(".gz"):
        data = gzip.compress(data, mtime=0)  # no clock in the file: same data, same bytes
    try:
        publish_bytes(path, data, make_parents=False)
    except StoreError as reason:
        raise DataError(str(reason)) from None


def trajectories_bytes(series: Sequence[tuple[FloatArray, FloatArray]]) -> bytes:
    """Return such a file, every number in full, not compressed."""
    width = max(2, *(len(times) for times, _ in series))
    out = [f"{series[0][1].shape[1]},{len(series)}" + "," * (width - 2)]
    for times, values in series:
        padding = "," * (width - len(times))
        rows = [*values.T.tolist(), times.tolist()]
        # x == x fails for NaN only, which is written as an empty cell
        out.extend(",".join([repr(x) if x == x else "" for x in row]) + padding for row in rows)
    return ("\n".join(out) + "\n").encode()
