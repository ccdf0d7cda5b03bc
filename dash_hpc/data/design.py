"""What was done to a sample while it was followed: inputs from outside, and genes held at a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dash_hpc.data.cells import clip, count_cells, is_number, name, read_number
from dash_hpc.data.textfile import Lines, read_lines
from dash_hpc.errors import DataError

if TYPE_CHECKING:
    from dash_hpc.data.timecourse import TimeCourse, Trajectory

__all__ = ["UNTREATED", "Input", "Treatment", "design_account", "read_design", "with_design"]

_COLUMNS = ("trajectory", "input", "from", "to", "targets", "held")


@dataclass(frozen=True)
class Input:
    """Something from outside that acts on genes during one interval.

    Attributes
    ----------
    name : str
        Inputs of one name act alike wherever they are on; where the effect may differ, they have names of their own.
    start, stop : float
        From when to when it is on, in the unit of the data's times; infinite: before, or beyond, all of them.
    targets : tuple of int, or None
        Genes that it acts on, counted from 0; None: they are not known.
    """

    name: str
    start: float = -np.inf
    stop: float = np.inf
    targets: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Treatment:
    """What was done in one trajectory.

    Attributes
    ----------
    inputs : tuple of Input
    held : tuple of int
        Genes that were held at a value (knocked out, clamped): their courses are not what their regulators make them.
    """

    inputs: tuple[Input, ...] = ()
    held: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.inputs or self.held)


UNTREATED = Treatment()


def with_design(course: TimeCourse, treatments: Mapping[int, Treatment]) -> TimeCourse:
    """Return the time course with what was done in its trajectories, by their numbers from 0."""
    found: list[Trajectory] = list(course.trajectories)
    for number, treatment in treatments.items():
        found[number] = replace(found[number], treatment=treatment)
    return replace(course, trajectories=tuple(found))


def design_account(course: TimeCourse) -> str:
    """Say in a clause what was done in the trajectories; "" for nothing."""
    treated = [trajectory.treatment for trajectory in course.trajectories]
    inputs = {one.name: one.targets for treatment in treated for one in treatment.inputs}
    told = []
    if inputs:
        open_ones = sum(targets is None for targets in inputs.values())
        where = sum(bool(treatment.inputs) for treatment in treated)
        told.append(f"{len(inputs):,} inputs, {open_ones:,} of them with unknown targets, in {where:,} trajectories")
    if genes := {gene for treatment in treated for gene in treatment.held}:
        where = sum(bool(treatment.held) for treatment in treated)
        told.append(f"{len(genes):,} genes held at a value, in {where:,} trajectories")
    return " and ".join(told)


def read_design(path: str | Path, genes: Sequence[str], trajectories: int) -> dict[int, Treatment]:
    """Read a table of what was done: a header, then a line for each input that is on and each gene that is held.

    Columns, in any order: ``trajectory`` (from 0, in the order of the file of trajectories); ``input``, a name, with
    ``from`` and ``to`` (empty: from before the first time, or until after the last one) and ``targets`` (genes,
    separated by blanks; empty or ``?``: not known); or, in place of an input, ``held``, genes that are held at a value.
    Columns that are not used may be left out.

    Returns
    -------
    dict of int to Treatment

    Raises
    ------
    DataError
        Naming file and line.
    """
    lines = read_lines(path)
    place = {gene: k for k, gene in enumerate(genes)}
    header = [cell.lower() for cell in lines.split(1)]
    if unknown := [cell for cell in header if cell not in _COLUMNS]:
        raise DataError(f"{path}:1: there is no column {clip(unknown[0])} in a design; columns: {', '.join(_COLUMNS)}")
    if "trajectory" not in header or not {"input", "held"} & set(header):
        raise DataError(f"{path}:1: a design needs the columns trajectory, and input or held")
    inputs: dict[int, list[Input]] = {}
    held: dict[int, set[int]] = {}
    acts: dict[str, tuple[int, tuple[int, ...] | None]] = {}
    for number in range(2, len(lines) + 1):
        row = _row(lines, number, header)
        where = f"{path}:{number}"
        trajectory = _trajectory(row["trajectory"], trajectories, where)
        if row["held"]:
            if any(row[key] for key in ("input", "from", "to", "targets")):
                raise DataError(
                    f"{where}: a line names either an input or genes that are held, for the whole trajectory"
                )
            held.setdefault(trajectory, set()).update(_genes(row["held"], place, where))
            continue
        if not row["input"]:
            raise DataError(f"{where}: the line names neither an input nor a gene that is held")
        start, stop = _time(row["from"], -np.inf, where), _time(row["to"], np.inf, where)
        if not start < stop:
            raise DataError(f"{where}: input {clip(row['input'])} ends at {stop:g}, not after its start at {start:g}")
        targets = None if row["targets"] in ("", "?") else _genes(row["targets"], place, where)
        first, before = acts.setdefault(row["input"], (number, targets))
        if before != targets:
            raise DataError(
                f"{where}: input {clip(row['input'])} has other targets than in line {first}; an input that acts on "
                "other genes needs a name of its own"
            )
        inputs.setdefault(trajectory, []).append(Input(row["input"], start, stop, targets))
    return {
        number: Treatment(tuple(inputs.get(number, ())), tuple(sorted(held.get(number, ()))))
        for number in sorted({*inputs, *held})
    }


def _row(lines: Lines, number: int, header: Sequence[str]) -> dict[str, str]:
    cells = lines.split(number)
    if len(cells) != len(header):
        raise DataError(f"{lines.path}:{number}: {count_cells(len(cells))}, but the header has {len(header)}")
    return dict.fromkeys(_COLUMNS, "") | dict(zip(header, cells, strict=True))


def _trajectory(cell: str, trajectories: int, where: str) -> int:
    if not (cell.isascii() and cell.isdigit() and len(cell) < 20 and int(cell) < trajectories):
        raise DataError(
            f"{where}: trajectory must be one of 0 to {trajectories - 1}, as the file of trajectories has them, got "
            f"{clip(cell)}"
        )
    return int(cell)


def _time(cell: str, otherwise: float, where: str) -> float:
    if not cell:
        return otherwise
    if not is_number(cell):
        raise DataError(f"{where}: {clip(cell)} is no time")
    return read_number(cell)[0]


def _genes(cell: str, place: Mapping[str, int], where: str) -> tuple[int, ...]:
    names = [name(part) for part in cell.split()]
    if missing := [part for part in names if part not in place]:
        raise DataError(f"{where}: gene {clip(missing[0])} is none of the data's")
    return tuple(sorted({place[part] for part in names}))
