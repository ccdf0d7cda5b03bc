"""Text files as bytes, and tables of numbers from them: a fast path, and a slow one for what people write."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dash_hpc.data.cells import MISSING, Remarks, clip, count_cells, read_number, tidy
from dash_hpc.data.filesize import decompressed, read_within, refuse_wide
from dash_hpc.errors import DataError

__all__ = ["Lines", "number_table", "read_lines", "split_cells"]

_NEWLINE = 10
_SAMPLE = 50
_WORDS = {"\t": "tabs", ";": "semicolons", " ": "blanks"}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+", re.ASCII)


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
        Where each line begins in ``data``, and how many cells it has.
    error : class
        What :func:`number_table` raises.
    separator : str
        What stands between cells: ``","``, ``";"``, a tab, or ``" "`` for any number of blanks.
    remarks : tuple of str
        What was recognised beyond UTF-8 text with commas.
    """

    path: str
    data: bytes
    starts: NDArray[np.int64]
    cells: NDArray[np.int64]
    error: type[DataError]
    separator: str = ","
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.starts)

    def line(self, number: int) -> str:
        return self.slice(number, number).decode().rstrip("\n")

    def slice(self, first: int, last: int) -> bytes:
        """The bytes of lines ``first`` to ``last``, both included."""
        end = self.starts[last] if last < len(self) else len(self.data)
        return self.data[self.starts[first - 1] : end]

    def split(self, number: int) -> list[str]:
        """The cells of a line, without quotes and blanks around them."""
        return [tidy(cell) for cell in split_cells(self.line(number), self.separator)]

    def blocks(self, first: int, last: int, size: int = 1 << 24) -> Iterator[tuple[int, int]]:
        """Ranges of whole lines of about ``size`` bytes, so that a large table never lies in memory dense."""
        while first <= last:
            limit = int(np.searchsorted(self.starts, self.starts[first - 1] + size))
            stop = min(last, max(first, limit))
            yield first, stop
            first = stop + 1


def split_cells(line: str, separator: str) -> list[str]:
    """The cells of one line; quotes around a cell are taken off."""
    if separator == " ":
        return [part.strip('"') for part in re.findall(r'"[^"]*"|[^ \t"]+', line)]
    if '"' not in line:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [""])
    except csv.Error:
        return line.split(separator)  # a cell of absurd length: whoever reads it says so


def read_lines(path: str | Path, error: type[DataError] = DataError, *, numbers: bool = False) -> Lines:
    """Read a text file, gunzipped where it is gzip; empty lines at the end are dropped.

    Parameters
    ----------
    numbers : bool
        The file is a table of numbers: bytes that are not UTF-8 are kept as ``\\xa0``, which is part of no number, so
        that :func:`number_table` tells whose they are.

    Raises
    ------
    error
        The file is missing, a folder, unreadable, too large, damaged gzip, not UTF-8 (or marked UTF-16) text, or empty.
    """
    data = read_within(path, error)
    if data[:2] == b"\x1f\x8b":
        data = decompressed(data, path, error)
    elif Path(path).suffix == ".gz":
        raise error(f"{path}: the name ends in .gz, but the file is not gzip")
    remarks: list[str] = []
    if data.startswith(_UTF16):
        try:
            data = data.decode("utf-16").encode()
        except UnicodeDecodeError:
            raise error(f"{path}: begins as UTF-16 text, but is not; save the file as UTF-8 (plain CSV)") from None
        remarks.append("the file is UTF-16 text")
    data = data.removeprefix(codecs.BOM_UTF8)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    data = _checked_text(path, data, error, numbers)
    text = data.rstrip()
    # empty cells at the end of the last line may be tabs
    data = text + data[len(text) :].split(b"\n", 1)[0] + b"\n"
    if not data.strip():
        raise error(f"{path}: the file is empty")
    return _cut(str(path), data, error, remarks)


def _checked_text(path: str | Path, data: bytes, error: type[DataError], numbers: bool) -> bytes:
    if b"\0" in data:
        line_number = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise error(f"{path}:{line_number}: binary data or another encoding than UTF-8; save the file as plain CSV")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as reason:
        if numbers:
            return data.decode("utf-8", "backslashreplace").encode()
        number, start = data.count(b"\n", 0, reason.start) + 1, data.rfind(b"\n", 0, reason.start) + 1
        line = data[start:].split(b"\n", 1)[0].decode("utf-8", "backslashreplace")
        separator = _separator([line])
        cells = [tidy(cell) for cell in split_cells(line, separator)]
        before = data[start : reason.start].decode("utf-8", "backslashreplace")
        cell = min(len(split_cells(before + "x", separator)), len(cells)) - 1
        raise error(
            f"{path}:{number}: cell {cell + 1} is {clip(cells[cell])}, not UTF-8 text; save the file as UTF-8 "
            "(plain CSV)"
        ) from None
    return data


def _separator(sample: list[str]) -> str:
    """What stands between the cells of these lines: of several that occur, what all lines have."""
    plain = [re.sub(r'"[^"]*"', "q", line) for line in sample]
    if any(re.search(r",[ ]*\t|\t[ ]*,", line) for line in plain):
        return ","  # a comma file with tabs for the eye
    if plain and all("\t" in line for line in plain):
        return "\t"
    # cells with more than one comma hold no decimal comma: semicolons within cells then
    if plain and all(";" in line for line in plain) and not any(re.search(r",[^;]*,", line) for line in plain):
        return ";"
    if any("," in line for line in plain):
        return ","
    widths = [len(line.split()) for line in plain] or [1]
    # R leaves out the word above its row names
    even = set(widths[1:] or widths) == {widths[-1]} and widths[0] in (widths[-1], widths[-1] - 1)
    return " " if even and widths[-1] > 1 else ","


def _cut(path: str, data: bytes, error: type[DataError], remarks: list[str]) -> Lines:
    symbols = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(symbols == _NEWLINE)
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)
    head = data[: int(ends[min(_SAMPLE, len(ends)) - 1])].decode().split("\n")
    separator = _separator([line for line in head if line.strip() and not line.startswith("#")])
    if separator in _WORDS:
        remarks.append(f"cells are separated by {_WORDS[separator]}")
    if separator == " " or b'"' in data:
        # a separator between quotes does not separate
        count = [len(split_cells(line, separator)) for line in data.decode().split("\n")[:-1]]
        cells = np.array(count, dtype=np.int64)
    else:
        marks = np.searchsorted(np.flatnonzero(symbols == ord(separator)), ends)
        cells = np.diff(marks, prepend=0) + 1
    refuse_wide(cells, path, error)
    return Lines(path, data, starts, cells, error, separator, tuple(remarks))


def number_table(
    lines: Lines,
    first: int,
    last: int,
    where: Callable[[int], str],
    width: int | None = None,
    *,
    skip: int = 0,
    remarks: Remarks | None = None,
) -> NDArray[np.float64]:
    """Parse lines ``first`` to ``last`` as a table of numbers; empty cells, NA and NaN give NaN.

    Parameters
    ----------
    where : callable
        What the line with a given number is, for messages: ``"trajectory 0, gene ABF1"``, or ``""``.
    width : int, optional
        Cells per line. Left out: the most common number of cells in the range.
    skip : int
        Cells at the beginning of each line that are not part of the table: names.
    remarks : Remarks, optional
        Where to say what was recognised beyond plain numbers.

    Raises
    ------
    lines.error
        A line with another number of cells, or a cell that is not a finite number.
    """
    cells = lines.cells[first - 1 : last]
    usual = int(np.argmax(np.bincount(cells))) if width is None else width
    ragged = np.flatnonzero(cells != usual)
    if len(ragged):
        number, found = first + int(ragged[0]), int(cells[ragged[0]])
        raise lines.error(
            f"{lines.path}:{number}: {count_cells(found)}, but the other lines have {usual}{_of(where(number))}; "
            "pad short lines with empty cells"
        )
    import pandas as pd  # here: simulated data do without it

    part = lines.slice(first, last)
    try:
        table = pd.read_csv(
            io.BytesIO(part),
            sep=r"\s+" if lines.separator == " " else lines.separator,
            header=None,
            names=range(usual),
            usecols=range(skip, usual),
            index_col=False,
            dtype=np.float64,
            na_values=list(MISSING),
            keep_default_na=False,
            skip_blank_lines=False,
            skipinitialspace=True,
            quoting=csv.QUOTE_MINIMAL if b'"' in part else csv.QUOTE_NONE,
            float_precision="round_trip",
            engine="c",
        ).to_numpy()
    except (ValueError, OverflowError):
        table = None
    if table is None or len(table) != last - first + 1 or np.isinf(table).any():
        return _slow_table(lines, first, last, where, usual, skip, remarks or Remarks())
    return table


def _slow_table(
    lines: Lines, first: int, last: int, where: Callable[[int], str], width: int, skip: int, remarks: Remarks
) -> NDArray[np.float64]:
    """Cell by cell: reads what is spelled otherwise, and finds the culprit."""
    table = np.empty((last - first + 1, width - skip))
    commas: list[tuple[int, int, str]] = []
    points: tuple[int, int, str] | None = None
    for number in range(first, last + 1):
        for column, cell in enumerate(split_cells(lines.line(number), lines.separator)[skip:], start=skip):
            try:
                value, spelling = read_number(cell)
            except ValueError:
                value = np.inf
            if np.isinf(value):
                remedy = "save the file as UTF-8 (plain CSV)" if "\\x" in cell else "leave a missing value empty"
                raise lines.error(
                    f"{lines.path}:{number}: cell {column + 1} is {clip(tidy(cell))}, not a finite number"
                    f"{_of(where(number))}; {remedy}"
                )
            table[number - first, column - skip] = value
            remarks.meet(spelling, number, column + 1, cell)
            if "," in cell:
                commas.append((number, column + 1, tidy(cell)))
            elif points is None and "." in cell and not np.isnan(value):
                points = (number, column + 1, tidy(cell))
    _check_commas(lines, commas, points, where)
    return table


def _check_commas(
    lines: Lines, commas: list[tuple[int, int, str]], points: tuple[int, int, str] | None, where: Callable[[int], str]
) -> None:
    """Refuse commas that may mean thousands: beside decimal points, or before three digits everywhere."""
    if not commas:
        return
    number, cell, text = commas[0]
    place = f"{lines.path}:{number}: cell {cell} is {clip(text)}"
    if points is not None:
        raise lines.error(
            f"{place}, but cell {points[1]} of line {points[0]} is {clip(points[2])}{_of(where(number))}: commas and "
            "points are mixed; write plain numbers such as 1234.5"
        )
    if all(_THOUSANDS.fullmatch(text) for _, _, text in commas):
        raise lines.error(
            f"{place}, which may be a decimal comma or mean thousands{_of(where(number))}; write plain numbers such "
            "as 1234.5"
        )


def _of(place: str) -> str:
    return f" ({place})" if place else ""
