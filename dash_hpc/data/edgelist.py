"""Lists of edges by name: with a header or without, in any order of columns, signed in numbers or in words."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from dash_hpc.data.cells import Remarks, clip, count_cells, name, read_number, sign, spells_number, tidy
from dash_hpc.data.columns import (
    Columns,
    answer,
    is_row_number,
    is_sign,
    mostly,
    named_columns,
    recognised,
    tells_signs,
    told,
    understand,
)
from dash_hpc.data.genes import brief, shorten
from dash_hpc.data.merge import Merged, merge_edges
from dash_hpc.data.record import NetworkRecord
from dash_hpc.data.textfile import Lines, split_cells
from dash_hpc.errors import PriorError

__all__ = ["read_edge_list"]

Row = tuple[int, list[str]]
# Rows that are looked at to understand a list; all are read.
_SAMPLE = 20_000
# From here on it is odd when many names regulate few.
_ODD_REGULATORS, _ODD_RATIO = 6, 3
_YES = frozenset(("1", "1.0", "true", "t", "yes", "y", "+"))
_NO = frozenset(("0", "0.0", "false", "f", "no", "n", "", "na", "nan", "-1", "-"))


def read_edge_list(
    lines: Lines,
    genes: Sequence[str],
    *,
    columns: Mapping[str, str | int] | None = None,
    key: str = "data.prior_columns",
    directed: bool = True,
) -> tuple[Merged, NetworkRecord]:
    """Read a list of edges over ``genes``, one a line.

    Parameters
    ----------
    columns : mapping, optional
        Which column is regulator, target, weight, sign, where the user says so.
    key : str
        The key of the study file that says so.
    directed : bool
        Whether it matters which of both ends is which.

    Raises
    ------
    PriorError
        Naming file, line and gene, or asking which column is what.
    """
    path = lines.path
    sample = list(islice(_rows(lines), _SAMPLE))
    if not sample:
        raise PriorError(f"{path}: no edges, only comments or empty cells")
    known = frozenset(genes)
    header = _header(sample, known, columns)
    found = _columns(sample, header, known, columns, path, key, directed)
    comments = sum(lines.line(number).startswith("#") for number in range(1, sample[0][0]))
    if comments:
        found = replace(found, remarks=(*found.remarks, f"{comments} comment line{'s' * (comments > 1)} passed over"))
    reader = _Reader(lines, genes, found, coded=header is None or found.weight is None)
    first, width = (0, len(sample[0][1])) if header is None else (header[0], len(header[1]))
    for number, row in _rows(lines):
        if number > first:
            reader.take(number, row, width)
    return reader.result(key, directed)


def _rows(lines: Lines) -> Iterator[Row]:
    """Line number and cells of each line that says something; what follows "#" before the first one does not."""
    begun = False
    for number, row in _cells(lines):
        if not any(map(tidy, row)):
            continue
        if not begun and row[0].startswith("#"):
            row = split_cells(lines.line(number).lstrip("# "), lines.separator)
            if not (_called(row, "regulator") and _called(row, "target")):
                continue
        begun = True
        yield number, row


def _cells(lines: Lines) -> Iterator[Row]:
    if lines.separator == " " or b'"' not in lines.data:
        for number, line in enumerate(io.StringIO(lines.data.decode()), start=1):
            yield number, split_cells(line.rstrip("\n"), lines.separator)
        return
    reader = csv.reader(io.StringIO(lines.data.decode()), delimiter=lines.separator, skipinitialspace=True)
    number = 1
    try:
        for row in reader:
            if any("\n" in cell for cell in row):
                raise PriorError(f"{lines.path}:{number}: a quote is opened and not closed in this line")
            yield number, row
            number = reader.line_num + 1
    except csv.Error as reason:
        raise PriorError(f"{lines.path}:{number}: not a CSV file ({reason})") from None


def _called(row: Sequence[str], role: str) -> bool:
    return any(recognised(cell, role) for cell in row)


def _header(sample: list[Row], known: frozenset[str], columns: Mapping[str, str | int] | None) -> Row | None:
    """The first row, if it is a header and not an edge.

    R leaves the header of its row names out: it is filled up.
    """
    (number, first), body = sample[0], [row for _, row in sample[1:]]
    by_name = any(isinstance(column, str) for column in (columns or {}).values())
    if body and len(body[0]) == len(first) + 1 and is_row_number([row[0] for row in body]):
        return number, ["", *first]
    if by_name:
        return sample[0]
    for k, cell in enumerate(first):
        column = [row[k] for row in body if k < len(row)]
        if spells_number(cell) and (not column or mostly(spells_number, column)):
            return None
        if is_sign(cell) and tidy(cell) and cell in column and tells_signs(column):
            return None
    if _called(first, "regulator") and _called(first, "target"):
        return sample[0]
    ends = [name(cell) for cell in first if not spells_number(cell)]
    among = sum(cell in known for cell in ends)
    if among >= 2:
        return None
    if _called(first, "regulator") or _called(first, "target"):
        return sample[0]
    if among:
        return None
    again = any(row[k] == cell for row in body for k, cell in enumerate(first) if k < len(row) and tidy(cell))
    return None if again else sample[0]


def _columns(
    sample: list[Row],
    header: Row | None,
    known: frozenset[str],
    columns: Mapping[str, str | int] | None,
    path: str,
    key: str,
    directed: bool,
) -> Columns:
    body = sample if header is None else sample[1:]
    width = len(body[0][1]) if header is None else len(header[1])
    if columns:
        return named_columns(columns, None if header is None else header[1], width, path, key)
    even = [row for _, row in body if len(row) == width]
    if header is not None:
        found = understand(header[1], even, path, key, line=header[0], directed=directed)
        if sum(name(cell) in known for cell in header[1]) >= 2:
            text = f"line {header[0]} taken as the header, although its words are names of genes too"
            found = replace(found, remarks=(text, *found.remarks))
        return found
    return _without_header(even, known, path, key)


def _without_header(body: Sequence[Sequence[str]], known: frozenset[str], path: str, key: str) -> Columns:
    """Tell the columns of a list without header by what stands in them."""
    by_column = [[row[k] for row in body] for k in range(len(body[0]))]
    numbers = [0] if len(by_column) > 2 and is_row_number(by_column[0]) else []
    among = [sum(name(cell) in known for cell in column) for column in by_column]
    weights = [k for k, column in enumerate(by_column) if mostly(spells_number, column) and not among[k]]
    signs = [k for k, column in enumerate(by_column) if k not in weights and tells_signs(column) and not among[k]]
    weights = [k for k in weights if k not in numbers]
    names = [k for k in range(len(by_column)) if k not in (*weights, *signs, *numbers)]
    if len(names) > 2:
        best = sorted(names, key=lambda k: -among[k])
        # others are text about the edge, where the two best are clearly the genes
        names = sorted(best[:2]) if among[best[1]] > 2 * among[best[2]] else names
    if len(names) != 2 or len(weights) > 1 or len(signs) > 1:
        raise PriorError(
            f"{path}:1: a list of {len(by_column)} columns without a header: which is the regulator, which the "
            f"target? Please {answer(key, regulator=1, target=2)}, with weight or sign if there is one"
        )
    found = {"regulator": names[0], "target": names[1]}
    found |= {"weight": weights[0]} if weights else {}
    found |= {"sign": signs[0]} if signs else {}
    remarks = [f"no header: {told(found, None)}"]
    if numbers:
        remarks.append("a column of row numbers was passed over")
    left = [str(k + 1) for k in range(len(by_column)) if k not in found.values() and k not in numbers]
    if left:
        remarks.append(f"columns not read: {', '.join(left)}")
    return Columns.of(found, told="no header", remarks=tuple(remarks))


class _Reader:
    """Takes the rows of a list one by one and counts what becomes of them."""

    def __init__(self, lines: Lines, genes: Sequence[str], columns: Columns, *, coded: bool) -> None:
        self.path, self.genes, self.columns = lines.path, genes, columns
        self.position = {gene: i for i, gene in enumerate(genes)}
        self.cases = {gene.casefold() for gene in genes}
        self.rows: list[int] = []
        self.targets: list[int] = []
        self.weights: list[float] = []
        self.unknown_sign: list[bool] = []
        self.strangers: dict[str, None] = {}
        self.seen: tuple[set[str], set[str]] = (set(), set())
        self.total = self.by_case = 0
        # numbers that may be codes for words: where nothing says that they are weights
        self.remarks = Remarks((*lines.remarks, *columns.remarks))
        self.coded = coded and not columns.asked
        self.codes: set[float] = set()

    def take(self, number: int, row: list[str], width: int) -> None:
        if len(row) != width:
            raise PriorError(f"{self.path}:{number}: {count_cells(len(row))}, but the first line has {width}")
        self.total += 1
        ends = name(row[self.columns.regulator]), name(row[self.columns.target])
        if not (ends[0] and ends[1]):
            raise PriorError(f"{self.path}:{number}: a gene name is empty; give regulator and target")
        weight, unknown = self._weight(number, row, ends)
        for end, seen in zip(ends, self.seen, strict=True):
            seen.add(end)
        places = [self.position.get(end) for end in ends]
        if places[0] is None or places[1] is None:
            self.strangers.update(dict.fromkeys(end for end in ends if end not in self.position))
            self.by_case += all(end.casefold() in self.cases for end in ends)
            return
        self.rows.append(places[0])
        self.targets.append(places[1])
        self.weights.append(weight)
        self.unknown_sign.append(unknown)

    def _weight(self, number: int, row: list[str], ends: tuple[str, str]) -> tuple[float, bool]:
        """The weight of a row, and whether its sign is unknown."""
        columns = self.columns
        edge = f"{brief(ends[0])} -> {brief(ends[1])}"
        place = f"{self.path}:{number}: the weight of {edge}"
        weight = 1.0
        if columns.weight is not None:
            weight = self._number(number, row[columns.weight], place, columns.weight)
        if columns.sign is None:
            return weight, False
        cell = row[columns.sign]
        if columns.negative is not None:
            value = self._yes(cell, number, columns.sign) - self._yes(row[columns.negative], number, columns.negative)
        elif columns.weight is None and spells_number(cell) and not columns.asked:
            return self._number(number, cell, place, columns.sign), False
        else:
            try:
                value = sign(cell)
            except ValueError:
                raise PriorError(
                    f"{self.path}:{number}: cell {columns.sign + 1}, the sign of {edge}, is "
                    f"{clip(tidy(cell))}; write + or -, 1 or -1, activation or repression, or unknown"
                ) from None
        if weight < 0 and value > 0:
            raise PriorError(f"{place} is {weight:g}, but its sign is {clip(tidy(cell))}; make them agree")
        return abs(weight) * (value or 1.0), value == 0

    def _number(self, number: int, cell: str, place: str, column: int) -> float:
        try:
            value, spelling = read_number(cell)
        except ValueError:
            value, spelling = np.nan, ""
        if not np.isfinite(value):
            hint = "; + and - stand in a column called sign" if is_sign(cell) and sign(cell) else ""
            raise PriorError(f"{place} is {clip(tidy(cell))}, not a finite number (cell {column + 1}){hint}")
        self.remarks.meet(spelling, number, column + 1, cell)
        if self.coded and len(self.codes) <= 3:
            self.codes.add(value)
        return value

    def _yes(self, cell: str, number: int, column: int) -> float:
        text = tidy(cell).casefold()
        if text in _YES or text in _NO:
            return float(text in _YES)
        raise PriorError(f"{self.path}:{number}: cell {column + 1} is {clip(text)}; write 1 or 0 (yes or no)")

    def result(self, key: str, directed: bool) -> tuple[Merged, NetworkRecord]:
        path, genes = self.path, self.genes
        if self.total == 0:
            raise PriorError(f"{path}: no edges after the header line")
        if not self.rows:
            case = f"; {self.by_case:,} of them differ only by case" if self.by_case else ""
            raise PriorError(
                f"{path}: none of its {self.total} edges has both ends among the {len(genes)} genes{case}; not among "
                f"them: {shorten(list(self.strangers))}; the genes are {shorten(list(genes))}; check the gene-name file"
            )
        if self.coded and 2.0 in self.codes and self.codes <= {0.0, 1.0, 2.0}:
            raise PriorError(
                f"{path}: all weights are 0, 1 or 2, which look like codes; write signs (+, -, unknown), or say which "
                f"column is the weight: {key} = {{ regulator = …, target = …, weight = … }} in [data], without weight "
                "where it is none"
            )
        merged = merge_edges(self.rows, self.targets, self.weights, len(genes), unknown=self.unknown_sign)
        record = NetworkRecord(
            Path(path).name,
            f"edge list, {self.columns.told}" if self.columns.told else "edge list",
            self.total,
            len(genes),
            dropped=self.total - len(self.rows),
            by_case=self.by_case,
            strangers=shorten(list(self.strangers)),
            remarks=self.remarks.sentences(),
            doubts=self._doubts(key) if directed else (),
        )
        return merged, merged.told(record)

    def _doubts(self, key: str) -> tuple[str, ...]:
        regulators, targets = map(len, self.seen)
        if self.columns.asked or regulators < _ODD_REGULATORS or regulators < _ODD_RATIO * targets:
            return ()
        return (
            f"{regulators:,} names regulate only {targets:,} targets, which is odd: if the columns stand the other way "
            f"round, {answer(key, regulator='…', target='…')}",
        )
