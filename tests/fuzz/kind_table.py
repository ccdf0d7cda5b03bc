"""Tables that people write: expression, gene names, networks. Read by the csv module beside the package's readers."""

from __future__ import annotations

import csv
import gzip
import math
import re
import unicodedata
from pathlib import Path
from random import Random
from typing import Any

from kind import Altered, Case, Kind
from mutators import change_bytes, change_text

from dash_hpc.errors import DataError

__all__ = ["Grid", "TableKind", "grid_of", "number_of", "plain_name"]

Grid = list[list[str]]

_CELLS = (
    "", " ", "NA", "nan", "-", "inf", "-inf", "1e999", "1e-400", "0", "-1", "1.5", "1,5", "1.234,5", "0x10", "1_0", "٣",
    "+0.5", ".5", "5.", "1e5", "1E+05", "9" * 400, "1 000", "1\u00a0000", "\u22120.5", '"0.5"', '"', "'0.5'", "#", "TF",
    "target", "G1", "G2", "g1", "nobody", "λ", "\u202egene", "\x1b[2J", "[/x]", "$x$", "a" * 3000, "a\tb", "a;b",
    "a\nb",
)  # fmt: skip
_ENDS = ("\n", "\r\n", "\r", "\n\n", "\u2028", "\x0b", " \n", ",\n", ";\n")
_MISSING = ("", "NA", "NaN", "nan")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def grid_of(data: bytes) -> Grid | None:
    """The cells of a plain comma-separated file, cut by the csv module; None when it is not plain."""
    try:
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        text = data.decode("utf-8-sig")
        lines = re.split("\r\n|\r|\n", text)
        while lines and not lines[-1].strip():
            lines.pop()
        # An empty line has one empty cell.
        return [[_bare(cell) for cell in next(csv.reader([line], skipinitialspace=True), [""])] for line in lines]
    except (ValueError, OSError, EOFError, csv.Error):
        return None


def _bare(cell: str) -> str:
    cell = cell.strip()
    return cell[1:-1].strip() if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def number_of(cell: str) -> float:
    """A finite decimal number, or NaN for a missing value; anything else raises ValueError."""
    cell = plain_name(cell)
    cell = cell[1:-1].strip() if len(cell) > 1 and cell[0] == cell[-1] == "'" else cell
    if cell in _MISSING:
        return math.nan
    if not _NUMBER.fullmatch(cell) or not math.isfinite(float(cell)):
        raise ValueError(cell)
    return float(cell)


def plain_name(cell: str) -> str:
    """A name as it is compared: blanks around it, how its letters are composed and what has no width do not count."""
    return unicodedata.normalize("NFC", re.sub("[\u200b-\u200d\u2060\ufeff]", "", cell).replace("\u00a0", " ")).strip()


class TableKind(Kind):
    """A kind of table. Derived classes make one, and read it twice: by the package, and by :func:`grid_of`."""

    short = 300

    def prepare(self, place: Path) -> None:
        self.path = place / "table.csv"
        self.grid = self.make(Random(7))
        self.good = _bytes(self.grid)
        self.path.write_bytes(self.good)
        found, said = self.read()
        if said or repr(found) != repr(self.expected(self.grid)):
            raise RuntimeError(f"read otherwise before anything was changed: {found} {said}")

    def make(self, rng: Random) -> Grid:
        """Return the cells of a good file."""
        raise NotImplementedError

    def read(self) -> tuple[Any, tuple[str, ...]]:
        """Let the package read :attr:`path`: what it finds, and what it says that it recognised or doubts."""
        raise NotImplementedError

    def expected(self, grid: Grid) -> Any:
        """Return what stands in ``grid`` by the documentation's plain layout; ValueError or LookupError when it is not
        in it.
        """
        raise NotImplementedError

    def mutate(self, rng: Random) -> Case:
        how = rng.random()
        if how < 0.2:
            return Case(*change_bytes(self.good, rng))
        if how < 0.4:
            return Case(*change_text(self.good, rng))
        grid = [list(row) for row in self.grid]
        labels = []
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            labels.append(_change_grid(grid, rng))
        label, data = _written(grid, rng)
        return Case("+".join([*labels, *label]), data)

    def check(self, case: Case) -> str:
        self.path.write_bytes(case.data)
        try:
            found, said = self.read()
        except DataError as error:
            text = str(error)
            if not text.startswith(str(self.path)) or "\n" in text.replace(str(self.path), ""):
                raise Altered(f"the message does not name the file in one line: {text[:200]!r}") from None
            return "refused"
        if said:
            return "other"
        grid = grid_of(case.data)
        try:
            expected = self.expected(grid) if grid else None
        except (ValueError, LookupError):
            expected = None
        if expected is None:
            raise Altered(f"read without a word, though it is not in the plain layout: {str(found)[:200]}")
        if repr(expected) != repr(found):
            raise Altered(f"{_difference(expected, found)}")
        return "equal"


def _difference(expected: Any, found: Any) -> str:
    a, b = repr(expected), repr(found)
    at = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return f"csv has …{a[max(0, at - 40) : at + 40]}…, read is …{b[max(0, at - 40) : at + 40]}…"


def _bytes(grid: Grid) -> bytes:
    return ("\n".join(",".join(row) for row in grid) + "\n").encode()


def _change_grid(grid: Grid, rng: Random) -> str:
    """Change rows, columns or one cell."""
    if not grid or not any(grid):
        return "nothing left"
    r = rng.randrange(len(grid))
    row = grid[r]
    c = rng.randrange(len(row)) if row else 0
    how = rng.choice(("cell", "cell", "cell", "row", "column", "order", "ragged"))
    if how == "cell" and row:
        kind = rng.randrange(4)
        if kind == 0:
            row[c] = rng.choice(_CELLS)
        elif kind == 1:
            row[c] = f'"{row[c]}"'
        elif kind == 2:
            row[c] = rng.choice((" ", "\t", "\u00a0", "\u200b", "+", "-", "0", '"', "'", "x")) + row[c]
        else:
            other = rng.choice(grid)
            if other:
                row[c] = rng.choice(other)
    elif how == "row":
        kind = rng.randrange(4)
        if kind == 0:
            del grid[r]
        elif kind == 1:
            grid.insert(rng.randrange(len(grid) + 1), list(row))
        elif kind == 2:
            grid.insert(r, rng.choice(([], [""] * len(row), ["# a comment"], [rng.choice(_CELLS) for _ in row])))
        else:
            grid[r] = [rng.choice(_CELLS) for _ in row]
    elif how == "column":
        kind = rng.randrange(4)
        for k, line in enumerate(grid):
            if kind == 0 and c < len(line):
                del line[c]
            elif kind == 1:
                line.insert(c, str(k))
            elif kind == 2 and c < len(line):
                line.insert(c, line[c])
            elif kind == 3:
                line.append("")
    elif how == "order":
        if rng.random() < 0.5:
            grid[:] = [grid[0], *rng.sample(grid[1:], len(grid) - 1)] if rng.random() < 0.5 else grid[::-1]
        elif all(len(line) == len(row) for line in grid):
            places = rng.sample(range(len(row)), len(row))
            for line in grid:
                line[:] = [line[k] for k in places]
    elif how == "ragged" and row:
        if rng.random() < 0.5:
            row.append(rng.choice(("", "1", *_CELLS)))
        else:
            row.pop()
    return how


def _written(grid: Grid, rng: Random) -> tuple[list[str], bytes]:
    """Write the cells, now and then as another program would."""
    separator, end, labels = ",", "\n", []
    how = rng.random()
    if how < 0.1:
        separator = rng.choice((";", "\t", " ", ", ", "|", ",\t"))
        labels.append(f"separator {separator!r}")
    elif how < 0.2:
        end = rng.choice(_ENDS)
        labels.append(f"line end {end!r}")
    text = end.join(separator.join(row) for row in grid) + rng.choice((end, end, "", end * 3))
    encoding = rng.choice((*["utf-8"] * 12, "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "gzip"))
    if encoding != "utf-8":
        labels.append(encoding)
    if encoding == "gzip":
        return labels, gzip.compress(text.encode("utf-8", "surrogatepass"), mtime=0)
    return labels, text.encode(encoding, "replace" if encoding == "latin-1" else "surrogatepass")
