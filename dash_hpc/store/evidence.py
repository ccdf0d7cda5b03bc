"""What a run found out about single edges: ``/evidence`` of a run file, where its strategy says something of them.

``/evidence/edges`` is a table, one row per edge, and ``/evidence/facts`` a JSON text of what belongs to all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from dash_hpc.errors import StoreError
from dash_hpc.store.hdf5 import Group
from dash_hpc.store.notes import number, record, text
from dash_hpc.store.publish import canonical_json
from dash_hpc.store.schema import read_json, read_table, write_table, write_text

__all__ = ["COLUMNS", "VERDICTS", "Evidence", "read_evidence", "write_evidence"]

VERDICTS = ("supported", "refused", "undecided")
#: Columns of the edges, and of which kind they are: O text, b bool, i whole, f decimal numbers.
COLUMNS = {
    "regulator": "O",
    "target": "O",
    "listed": "b",
    "taken": "b",
    "sign": "i",
    "log_bf": "f",
    "prior_log_odds": "f",
    "log_odds": "f",
    "probability": "f",
    "effect": "f",
    "standard_error": "f",
    "power": "f",
    "verdict": "O",
    "alike": "O",
    "correlation": "f",
}
#: Columns that older run files have not, and what stands there.
_LATER: dict[str, Any] = {"alike": "", "correlation": float("nan")}
_FACTS_BYTES = 1 << 16
_FACTS = record({"mode": text(100)}, others=lambda value: "" if value is None else number(value))


@dataclass(frozen=True, eq=False)
class Evidence:
    """Edges with probabilities, and what is to be expected of them together.

    Attributes
    ----------
    edges : dict of (E,) arrays
        By target, then regulator, in the order of the genes: ``regulator``, ``target`` (names), ``listed`` (the prior
        has it), ``taken`` (the model has it), ``sign`` (the prior's: 1, -1, or 0 where it says nothing), ``log_bf``
        (ln B of the data), ``prior_log_odds`` and ``log_odds`` (before and after the data), all three in nats,
        ``probability``, ``effect`` and ``standard_error`` (of the coefficient in the target's drive), ``power`` (nats
        that the data could give or take at most for an edge of typical size), ``verdict`` (one of :data:`VERDICTS`),
        ``alike`` (of the genes that could regulate the target the one that the data tell least from the regulator;
        "" where none is like it) and ``correlation`` (of what the two do to the target, above 0.9 in size).
        NaN where the data say nothing, minus infinity where an edge is out of the question.
    facts : dict
        ``mode``, and numbers: thresholds, estimates, expected numbers; None where there is no such number.
    """

    edges: dict[str, np.ndarray] = field(repr=False)
    facts: dict[str, Any]

    def __len__(self) -> int:
        return len(self.edges["regulator"])


def write_evidence(file: h5py.File, evidence: Evidence) -> None:
    """Write ``/evidence``.

    Raises
    ------
    StoreError
        When a column is missing or too many, or a fact is neither a number nor None.
    """
    if tuple(evidence.edges) != tuple(COLUMNS):
        raise StoreError(f"evidence has the columns {', '.join(COLUMNS)}, not {', '.join(evidence.edges)[:200]}")
    if problem := _FACTS(evidence.facts):
        raise StoreError(f"facts of evidence: {problem}")
    group = file.create_group("evidence")
    write_table(group, "edges", evidence.edges)
    write_text(group, "facts", canonical_json(evidence.facts))


def read_evidence(file: Group) -> Evidence | None:
    """Read ``/evidence``; None where there is none.

    Raises
    ------
    StoreError
        When a part is missing, damaged, of another type, or cannot be what it says.
    """
    if "evidence" not in file.members:
        return None
    group = file.group("evidence")
    edges = read_table(group, "edges")
    count = len(next(iter(edges.values()))) if edges else 0
    for name, missing in _LATER.items():
        if name not in edges:
            edges[name] = np.full(count, missing, dtype=object if COLUMNS[name] == "O" else np.float64)
    if tuple(edges) != tuple(COLUMNS):
        raise StoreError("/evidence/edges: its columns are not those of edges")
    for name, kind in COLUMNS.items():
        _check_column(name, kind, edges[name], count)
    return Evidence(edges, read_json(group, "facts", _FACTS, longest=_FACTS_BYTES))


def _check_column(name: str, kind: str, values: np.ndarray, count: int) -> None:
    fits = values.dtype.kind == kind or not count
    if kind == "O":
        fits = fits and all(isinstance(value, str) for value in values)
    if not fits:
        raise StoreError(f"/evidence/edges/{name} is of another type")
    possible: Mapping[str, Any] = {
        "verdict": lambda: set(values) <= set(VERDICTS),
        "sign": lambda: bool((np.abs(values) <= 1).all()),
        "probability": lambda: not ((values < 0) | (values > 1)).any(),
        "standard_error": lambda: not (values < 0).any(),
        "correlation": lambda: not (np.abs(values) > 1 + 1e-9).any(),
    }
    if count and name in possible and not possible[name]():
        raise StoreError(f"/evidence/edges/{name} has a value that cannot be")
