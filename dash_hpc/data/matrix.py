"""Networks as matrices: bare and square, or with names above or at the left, in any order and either way round."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array, csr_array, vstack

from dash_hpc.data.cells import Remarks, clip, name, read_number
from dash_hpc.data.columns import answer, is_row_number, mostly, recognised
from dash_hpc.data.genes import shorten
from dash_hpc.data.merge import canonical
from dash_hpc.data.record import NetworkRecord
from dash_hpc.data.textfile import Lines, number_table
from dash_hpc.errors import PriorError

__all__ = ["Frame", "frame_of", "is_numeric", "orientation", "read_matrix"]

_SAMPLE = 8
# From here on it is odd when many rows regulate few columns.
_ODD_REGULATORS, _ODD_RATIO = 6, 3
_SIDES = ("rows", "columns")


@dataclass(frozen=True)
class Frame:
    """The names around a matrix: which line its numbers begin at, after how many cells, and what is called what."""

    first: int
    skip: int
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    remark: str


def is_numeric(cell: str) -> bool:
    """Whether the cell is a number or a missing value, in any spelling, or infinite."""
    try:
        read_number(cell)
    except ValueError:
        return cell.strip().lower().lstrip("+-") in ("inf", "infinity")
    return True


def frame_of(lines: Lines, genes: Sequence[str]) -> Frame | None:
    """The names around a matrix, or None where the file is none that has them.

    Raises
    ------
    PriorError
        A name stands twice.
    """
    sample = [lines.split(number) for number in range(1, min(len(lines), _SAMPLE) + 1)]
    first, body = sample[0], sample[1:]
    known = frozenset(genes)
    header = any(recognised(cell, "regulator") for cell in first) and any(recognised(cell, "target") for cell in first)
    if header and sum(name(cell) in known for cell in first) <= 2:
        return None
    width = len(body[0]) if body else len(first)
    if width < 2 or any(len(row) != width for row in body):
        return None
    if not all(mostly(is_numeric, [row[k] for row in body]) for k in range(1, width) if body):
        return None
    words = not any(is_numeric(cell) for cell in first[1:])
    if body and words and len(first) in (width, width - 1):
        above = tuple(map(name, first if len(first) < width else first[1:]))
        if width > 3 or any(word in known for word in above):
            return _with_header(lines, above, first, width, known)
    if all(is_numeric(cell) for cell in first[1:]) and not is_numeric(first[0]) and len(lines) == width - 1:
        left = _left(lines, 1)
        return Frame(1, 1, left, left, "names at the left only: columns taken in the order of the rows")
    return None


def _with_header(lines: Lines, above: tuple[str, ...], first: list[str], width: int, known: frozenset[str]) -> Frame:
    _refuse_repeats(lines, above, lambda k: f"1: cell {k + (1 if len(first) < width else 2)}")
    left = _left(lines, 2)
    if not any(cell in known for cell in left):
        full = tuple(map(name, first))
        if len(first) == width == len(lines) - 1 and all(is_numeric(cell) for cell in left):
            _refuse_repeats(lines, full, lambda k: f"1: cell {k + 1}")
            return Frame(2, 0, full, full, "names above only: rows taken in the order of the columns")
        if is_row_number(left) and len(left) == len(above):
            return Frame(2, 1, above, above, "row numbers at the left: rows taken in the order of the columns")
    _refuse_repeats(lines, left, lambda k: f"{k + 2}: cell 1")
    return Frame(2, 1, left, above, "names on both sides")


def _left(lines: Lines, first: int) -> tuple[str, ...]:
    """The first cell of each line; the rest is not cut up."""
    found = []
    for number in range(first, len(lines) + 1):
        line = lines.line(number)
        quoted = re.match(r'\s*"([^"]*)"', line)
        if quoted or lines.separator == " ":
            found.append(name(quoted[1] if quoted else line.split(None, 1)[0]))
        else:
            found.append(name(line.split(lines.separator, 1)[0]))
    return tuple(found)


def _refuse_repeats(lines: Lines, names: Sequence[str], place: Callable[[int], str]) -> None:
    seen: dict[str, int] = {}
    for k, word in enumerate(names):
        if word in seen:
            raise PriorError(f"{lines.path}:{place(k)} names {clip(word)} a second time; names must be distinct")
        seen[word] = k


def orientation(columns: Mapping[str, str | int] | None) -> str | None:
    """The side that regulates, "rows" or "columns", where the user says so."""
    sides = tuple((columns or {}).get(role) for role in ("regulator", "target"))
    return str(sides[0]) if sides in (_SIDES, _SIDES[::-1]) else None


def read_matrix(
    lines: Lines, genes: Sequence[str], frame: Frame | None, *, side: str | None, key: str
) -> tuple[csr_array, NetworkRecord]:
    """Read a matrix, bare or in its frame, as regulator × target over ``genes``.

    Parameters
    ----------
    side : "rows", "columns" or None
        Which side regulates; None: rows, or the shorter side of a matrix with names.
    key : str
        The key of the study file that says so.

    Raises
    ------
    PriorError
        Naming file, line, cell and genes.
    """
    remarks = Remarks(lines.remarks)
    record = NetworkRecord(Path(lines.path).name, "matrix", 0, len(genes))
    if frame is None:
        _check_square(lines, len(genes))
        network = _numbers(lines, 1, 0, tuple(genes), tuple(genes), remarks)
        record = replace(record, entries=int(network.nnz))
        turned = side == "columns"
        doubts = () if side else _odd(network, key)
    else:
        remarks.say(frame.remark)
        given = _numbers(lines, frame.first, frame.skip, frame.rows, frame.columns, remarks)
        turned, doubts = _turned(frame, given, side, key, remarks)
        network, record = _placed(lines, given, frame, genes, replace(record, entries=int(given.nnz)))
    if turned:
        network = canonical(network.T)
    loops = int(np.count_nonzero(network.diagonal()))
    way = f"matrix, {'columns regulate rows' if turned else 'rows regulate columns'}"
    return network, replace(record, layout=way, loops=loops, remarks=remarks.sentences(), doubts=doubts)


def _check_square(lines: Lines, n: int) -> None:
    width = int(np.argmax(np.bincount(lines.cells)))
    if len(lines) != n or width != n:
        raise PriorError(
            f"{lines.path}: prior matrix must be [{n}, {n}] (regulators × targets, one row and column per gene), "
            f"got [{len(lines)}, {width}]"
        )


def _numbers(
    lines: Lines, first: int, skip: int, rows: Sequence[str], columns: Sequence[str], remarks: Remarks
) -> csr_array:
    blocks = []
    last = first + len(rows) - 1
    for begin, end in lines.blocks(first, last):
        table = number_table(
            lines, begin, end, lambda k: f"regulator {rows[k - first]}", skip + len(columns), skip=skip, remarks=remarks
        )
        missing = np.argwhere(np.isnan(table))
        if len(missing):
            row, column = (int(k) for k in missing[0])
            raise PriorError(
                f"{lines.path}:{begin + row}: cell {skip + column + 1} (regulator {rows[begin + row - first]}, target "
                f"{columns[column]}) is empty or NaN; write 0 where there is no edge"
            )
        blocks.append(csr_array(table))
    return canonical(vstack(blocks, format="csr"))


def _turned(
    frame: Frame, given: csr_array, side: str | None, key: str, remarks: Remarks
) -> tuple[bool, tuple[str, ...]]:
    """Whether the columns regulate, and what speaks against it."""
    if side is not None:
        return side == "columns", ()
    rows, columns = len(frame.rows), len(frame.columns)
    if set(frame.rows) == set(frame.columns):
        return False, _odd(given, key)
    for shorter, longer, turned in ((columns, rows, True), (rows, columns, False)):
        if 2 * shorter <= longer:
            which = "columns" if turned else "rows"
            remarks.say(f"{shorter:,} {which} for {longer:,} genes: taken as the regulators")
            return turned, ()
    return False, (
        f"{rows:,} rows and {columns:,} columns with other names: rows are taken as the regulators; if the columns "
        f"are, {_turn(key)}",
    )


def _odd(network: csr_array, key: str) -> tuple[str, ...]:
    regulators = int(np.count_nonzero(np.diff(network.indptr)))
    targets = len(np.unique(network.indices))
    if regulators < _ODD_REGULATORS or regulators < _ODD_RATIO * targets:
        return ()
    return (
        f"{regulators:,} rows regulate only {targets:,} columns, which is odd: if the columns regulate, {_turn(key)}",
    )


def _turn(key: str) -> str:
    return answer(key, regulator='"columns"', target='"rows"')


def _placed(
    lines: Lines, given: csr_array, frame: Frame, genes: Sequence[str], record: NetworkRecord
) -> tuple[csr_array, NetworkRecord]:
    """Bring a matrix with names into the order of the genes; count what is not among them."""
    position = {gene: i for i, gene in enumerate(genes)}
    cases = {gene.casefold() for gene in genes}
    rows, columns = (np.array([position.get(word, -1) for word in side]) for side in (frame.rows, frame.columns))
    edges = given.tocoo()
    i, j = rows[edges.coords[0]], columns[edges.coords[1]]
    inside = (i >= 0) & (j >= 0)
    lost = ((frame.rows[a], frame.columns[b]) for a, b in zip(*(c[~inside] for c in edges.coords), strict=True))
    strangers = list(dict.fromkeys(word for pair in lost for word in pair if word not in position))
    if given.nnz and not inside.any():
        raise PriorError(
            f"{lines.path}: none of its {given.nnz:,} edges has both ends among the {len(genes)} genes; not among "
            f"them: {shorten(strangers)}; the genes are {shorten(list(genes))}; check the gene-name file"
        )
    n = len(genes)
    network = canonical(coo_array((edges.data[inside], (i[inside], j[inside])), shape=(n, n)))
    fits = [np.array([word.casefold() in cases for word in side]) for side in (frame.rows, frame.columns)]
    by_case = fits[0][edges.coords[0]] & fits[1][edges.coords[1]] & ~inside
    return network, replace(
        record,
        dropped=int((~inside).sum()),
        by_case=int(by_case.sum()),
        strangers=shorten(strangers),
    )
