"""Text files as bytes, and tables of numbers from them: a fast path, and a slow one that finds the culprit."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dash_hpc.errors import DataError

__all__ = ["MISSING", "Lines", "clip", "is_number", "number_table", "read_lines", "read_raw"]

MISSING = ("", "NA", "NaN", "nan")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NEWLINE, _COMMA = 10, 44


def is_number(cell: str) -> bool:
    """Whether the cell is a plain decimal number (not empty, not NA, not infinite)."""
    return _NUMBER.fullmatch(cell.strip()) is not None


def clip(text: str, limit: int = 40) -> str:
    """The beginning of a cell or line, for messages."""
    return repr(text if len(text) <= limit else text[:limit] + "...")


def read_raw(path: str | Path, error: type[DataError] = DataError) -> bytes:
    """The bytes of a file as they lie on disk."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise error(f"{path}: file not found") from None
    except IsADirectoryError:
        raise error(f"{path}: is a folder, not a file") from None
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason.strerror or reason})") from None


@dataclass(frozen=True, eq=False)
class Lines:
    """A text file cut into lines; line ``i`` of the file is ``line(i)`` counted from 1.

    Attributes
    ----------
    path : str
        For messages.
    data : bytes
        UTF-8 text, lines ended by ``\\n``, the last one too.
    starts, cells : (n,) int64
        Where each line begins in ``data``, and how many comma-separated cells it has.
    error : class
        What :func:`number_table` raises.
    """

    path: str
    data: bytes
    starts: NDArray[np.int64]
    cells: NDArray[np.int64]
    error: type[DataError]

    def __len__(self) -> int:
        return len(self.starts)

    def line(self, number: int) -> str:
        return self.slice(number, number).decode().rstrip("\n")

    def slice(self, first: int, last: int) -> bytes:
        """The bytes of lines ``first`` to ``last``, both included."""
        end = self.starts[last] if last < len(self) else len(self.data)
        return self.data[self.starts[first - 1] : end]

    def blocks(self, first: int, last: int, size: int = 1 << 24) -> Iterator[tuple[int, int]]:
        """Ranges of whole lines of about ``size`` bytes, so that a large table never lies in memory dense."""
        while first <= last:
            limit = int(np.searchsorted(self.starts, self.starts[first - 1] + size))
            stop = min(last, max(first, limit))
            yield first, stop
            first = stop + 1


def read_lines(path: str | Path, error: type[DataError] = DataError) -> Lines:
    """Read a text file, gunzipped where it is gzip; empty lines at the end are dropped.

    Raises
    ------
    error
        The file is missing, a folder, unreadable, damaged gzip, not UTF-8 text, or empty.
    """
    data = read_raw(path, error)
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as reason:
            raise error(f"{path}: the gzip file is damaged or cut short ({reason})") from None
    elif Path(path).suffix == ".gz":
        raise error(f"{path}: the name ends in .gz, but the file is not gzip")
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as reason:
        line = data.count(b"\n", 0, reason.start) + 1
        raise error(f"{path}:{line}: not UTF-8 text; save the file as UTF-8 (plain CSV)") from None
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise error(f"{path}:{line}: binary data or another encoding than UTF-8; save the file as plain CSV")
    data = data.rstrip() + b"\n"
    if data == b"\n":
        raise error(f"{path}: the file is empty")
    return _cut(str(path), data, error)


def _cut(path: str, data: bytes, error: type[DataError]) -> Lines:
    symbols = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(symbols == _NEWLINE)
    commas = np.searchsorted(np.flatnonzero(symbols == _COMMA), ends)
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)
    return Lines(path, data, starts, np.diff(commas, prepend=0) + 1, error)


def number_table(
    lines: Lines, first: int, last: int, where: Callable[[int], str], width: int | None = None
) -> NDArray[np.float64]:
    """Parse lines ``first`` to ``last`` as a table of numbers; empty cells, NA and NaN give NaN.

    Parameters
    ----------
    where : callable
        What the line with a given number is, for messages: ``"trajectory 0, gene ABF1"``, or ``""``.
    width : int, optional
        Cells per line. Left out: the most common number of cells in the range.

    Raises
    ------
    lines.error
        A line with another number of cells, or a cell that is not a finite number.
    """
    cells = lines.cells[first - 1 : last]
    usual = int(np.argmax(np.bincount(cells))) if width is None else width
    ragged = np.flatnonzero(cells != usual)
    if len(ragged):
        number = first + int(ragged[0])
        raise lines.error(
            f"{lines.path}:{number}: {_cells(cells[ragged[0]])}, but the other lines have {usual}{_of(where(number))};"
            " pad short lines with empty cells"
        )
    import pandas as pd  # here: simulated data do without it

    try:
        table = pd.read_csv(
            io.BytesIO(lines.slice(first, last)),
            header=None,
            names=range(usual),
            index_col=False,
            dtype=np.float64,
            na_values=list(MISSING),
            keep_default_na=False,
            skip_blank_lines=False,
            skipinitialspace=True,
            quoting=3,  # a quote is not part of a number
            float_precision="round_trip",
            engine="c",
        ).to_numpy()
    except (ValueError, OverflowError) as reason:
        _raise_first_bad_cell(lines, first, last, where)
        raise lines.error(f"{lines.path}:{first}: not a table of numbers ({reason})") from None
    if len(table) != last - first + 1 or np.isinf(table).any():
        _raise_first_bad_cell(lines, first, last, where)
        raise lines.error(f"{lines.path}:{first}: not a table of finite numbers")
    return table


def _raise_first_bad_cell(lines: Lines, first: int, last: int, where: Callable[[int], str]) -> None:
    for number in range(first, last + 1):
        for column, cell in enumerate(lines.line(number).split(",")):
            text = cell.strip()
            if text in MISSING:
                continue
            if not is_number(text) or not np.isfinite(float(text)):
                raise lines.error(
                    f"{lines.path}:{number}: cell {column + 1} is {clip(text)}, not a finite number"
                    f"{_of(where(number))}; leave a missing value empty"
                )


def _cells(n: int) -> str:
    return f"{n} cell" if n == 1 else f"{n} cells"


def _of(place: str) -> str:
    return f" ({place})" if place else ""
