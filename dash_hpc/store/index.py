"""``index.h5``: one row per ended run, so that thousands of runs open at once.

The index is disposable. A row counts only while size and time of its run file are what they were; every other run is
read from its own file, and :func:`rebuild_index` makes the whole again from the run files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dash_hpc.errors import OtherVersion, StoreError
from dash_hpc.ids import spec_id
from dash_hpc.store.columns import is_possible, is_reserved, option_column
from dash_hpc.store.envelope import open_envelope, read_header, to_bytes
from dash_hpc.store.hdf5 import Group
from dash_hpc.store.makers import made_with
from dash_hpc.store.publish import canonical_json, publish_bytes
from dash_hpc.store.runfile import RunRecord, read_run
from dash_hpc.store.scan import RunFile, choose, read_data, scan, scan_bundles
from dash_hpc.store.schema import (
    INDEX_FORMAT,
    INDEX_VERSION,
    STATES,
    read_table,
    write_table,
)

__all__ = [
    "INDEX_FILE",
    "Index",
    "merged_names",
    "read_index",
    "rebuild_index",
    "row_or_problem",
    "summary",
    "write_index",
]

INDEX_FILE = "index.h5"
# What else is calculated with, where it is there.
_NUMERIC = re.compile(r"lambda_\w+|schedule\.\w+|training\.epochs|model\.hidden")
_WORDS = {"run_id", "status", "reason", "strategy", "stop_reason", "data_digest"}
# What an index may need in memory beyond its size on disk, whatever runs there are, and for each run.
_LEAST_BYTES = 1 << 26
_BYTES_EACH = 1 << 14
_STAMP = ("file_mtime_ns", "file_bytes")


def _is_texts(values: np.ndarray) -> bool:
    return values.dtype == object and all(isinstance(value, str) for value in values)


def _is_numbers(values: np.ndarray) -> bool:
    """Whether these are numbers, or some are missing: then whole ones stand as JSON."""
    return values.dtype.kind in "if" or (
        values.dtype == object and all(value is None or type(value) in (int, float) for value in values)
    )


def _is_calculated_with(name: str) -> bool:
    return _NUMERIC.fullmatch(name) is not None or (is_reserved(name) and name not in _WORDS)


def _is_whole(values: np.ndarray) -> bool:
    return values.dtype.kind == "i"


_INDEX_COLUMNS = {
    **dict.fromkeys(("run_id", "status", "reason", "strategy", "stop_reason"), _is_texts),
    **dict.fromkeys(("seed", "epoch", "epochs"), _is_numbers),
    **dict.fromkeys(_STAMP, _is_whole),
}


def row_or_problem(file: RunFile) -> dict[str, Any] | str:
    """Read the row of a run, or say in one line why it cannot be used."""
    try:
        record = read_run(file.path, tables=False, network=False, data=read_data(file))
    except StoreError as error:
        return str(error)
    if record.run_id != file.run_id:
        return f"{file.path}: holds run {record.run_id}; a copy under another name is left out, move it elsewhere"
    if spec_id(record.spec) != record.run_id:
        return f"{file.path}: its spec belongs to id {spec_id(record.spec)}; move it away and run the study again"
    return summary(record)


def summary(record: RunRecord) -> dict[str, Any]:
    """Return the row of a run: state, strategy and its options, seed, epochs, seconds, metrics, the spec, its makers.

    Options and metrics stand under their own names (an option called like something else as ``option.<name>``), the
    rest of the spec as ``section.key``, what the run was made with as ``made.<what>``.
    """
    strategy = record.spec["strategy"]
    row: dict[str, Any] = {
        "run_id": record.run_id,
        "status": record.status,
        "reason": record.reason,
        "strategy": strategy["name"],
        "seed": record.spec["seed"],
    }
    for key, value in strategy.items():
        if key != "name":
            row[option_column(key)] = _cell(value)
    row |= {"epoch": record.epoch, "epochs": record.epochs, "stop_reason": record.stop_reason}
    row |= {key: value for key, value in record.timing.items() if key not in row}
    row |= {f"metric.{key}" if key in row else key: value for key, value in record.metrics.items()}
    for section, values in record.spec.items():
        if section in {"strategy", "seed"}:
            continue
        own = _cells(section, values)
        row |= {f"spec.{key}" if key in row else key: value for key, value in own.items()}
    return row | made_with(record.provenance)


def merged_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys of all rows; one that not every row has stands behind its neighbour, not at the end."""
    names: list[str] = []
    for keys in dict.fromkeys(tuple(row) for row in rows):
        known = set(names)
        place = 0
        for key in keys:
            if key in known:
                place = names.index(key) + 1
            else:
                names.insert(place, key)
                place += 1
    return names


def write_index(folder: Path | str, rows: Sequence[tuple[RunFile, Mapping[str, Any]]]) -> None:
    """Publish the index of the given ended runs.

    Raises
    ------
    StoreError
        When the file cannot be written.
    """
    names = merged_names([row for _, row in rows])
    columns = {name: [row.get(name) for _, row in rows] for name in names}
    for name, values in columns.items():
        if any(isinstance(value, str) for value in values):
            columns[name] = ["" if value is None else value for value in values]
    stamps = {
        _STAMP[0]: np.array([file.mtime_ns for file, _ in rows], dtype=np.int64),
        _STAMP[1]: np.array([file.size for file, _ in rows], dtype=np.int64),
    }
    data = to_bytes(
        INDEX_FORMAT,
        INDEX_VERSION,
        lambda file: write_table(file, "runs", {**columns, **stamps}, rows=len(rows)),
    )
    publish_bytes(Path(folder) / INDEX_FILE, data, make_parents=False)


class Index:
    """What ``index.h5`` says: for each run the stamp of its file and, made when asked for, its row."""

    def __init__(self, columns: dict[str, np.ndarray]) -> None:
        self._stamps = [columns.pop(name) for name in _STAMP]
        self._columns = columns
        self._places = {run_id: k for k, run_id in enumerate(columns["run_id"])}

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def stamp(self, run_id: str) -> tuple[int, int] | None:
        """Return (mtime in ns, size in bytes) of the file that a row was made from; None without a row."""
        k = self._places.get(run_id)
        return None if k is None else (int(self._stamps[0][k]), int(self._stamps[1][k]))

    def row(self, run_id: str) -> dict[str, Any]:
        """Return the row of a run that is there."""
        k = self._places[run_id]
        return {
            name: values[k].item() if isinstance(values[k], np.generic) else values[k]
            for name, values in self._columns.items()
        }


def read_index(folder: Path | str, runs: int = 0) -> Index | None:
    """Read the index of a store in which ``runs`` runs were seen; None when there is none.

    Raises
    ------
    StoreError
        When the index is foreign or damaged, or too large for so many runs: :func:`rebuild_index` replaces it.
    """
    path = Path(folder) / INDEX_FILE
    if not path.is_symlink() and not path.exists():
        return None
    try:
        with open_envelope(path, INDEX_FORMAT, INDEX_VERSION) as file:
            return _index(file, max(_LEAST_BYTES, runs * _BYTES_EACH))
    except OtherVersion:
        if read_header(path)[1] < INDEX_VERSION:
            return None  # of an earlier version of the program, and disposable
        raise


def _index(file: Group, limit: int) -> Index:
    table = read_table(file, "runs", limit)
    for name, values in table.items():
        if values.dtype != object and values.dtype.kind not in "bif":
            raise StoreError(f"column {name} of the index is of {values.dtype}")
    if not len(table.get(_STAMP[0], "?")):
        # Without runs there is nothing but the stamps.
        table = {**{name: np.empty(0, dtype=object) for name in _INDEX_COLUMNS}, **table}
    for name, test in _INDEX_COLUMNS.items():
        if name not in table or not test(table[name]):
            raise StoreError(f"column {name} of the index is missing, or of another type")
    for name, values in table.items():
        if _is_calculated_with(name) and not _is_numbers(values):
            raise StoreError(f"column {name} of the index is of another type")
        if is_reserved(name) and name not in _WORDS and not is_possible(name, values.astype(np.float64)):
            raise StoreError(f"column {name} of the index has a value that cannot be")
    if not set(table["status"]) <= set(STATES) or len(set(table["run_id"])) != len(table["run_id"]):
        raise StoreError("the index has unknown states or a run twice")
    return Index(table)


def rebuild_index(folder: Path | str) -> int:
    """Make the index again from run files and bundles alone and publish it; return how many runs it has.

    Unreadable run files are left out (``Store.problems`` names them).
    """
    chosen, _ = choose(scan(folder)[0], scan_bundles(folder)[0], row_or_problem)
    rows = [(file, row) for file, row in chosen.values() if isinstance(row, dict) and row["status"] != "running"]
    write_index(folder, rows)
    return len(rows)


def _cells(name: str, value: Any) -> dict[str, Any]:
    """One cell for each key of a table, and of the tables in it, named with its path."""
    if not isinstance(value, Mapping):
        return {name: _cell(value)}
    return {path: cell for key, inner in value.items() for path, cell in _cells(f"{name}.{key}", inner).items()}


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else canonical_json(value)
