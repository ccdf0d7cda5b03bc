"""``index.h5``: one row per ended run, so that thousands of runs open at once.

The index is disposable. A row counts only while size and time of its run file are what they were; every other run is
read from its own file, and :func:`rebuild_index` makes the whole again from the run files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dash_hpc.errors import StoreError
from dash_hpc.store.envelope import open_envelope, pack
from dash_hpc.store.publish import canonical_json, is_temporary, publish_bytes
from dash_hpc.store.runfile import RunRecord, read_run
from dash_hpc.store.schema import INDEX_FORMAT, INDEX_VERSION, read_table, run_path, runs_folder, write_table

__all__ = ["INDEX_FILE", "RunFile", "merged_names", "read_index", "rebuild_index", "scan", "summary", "write_index"]

INDEX_FILE = "index.h5"
_STAMP = ("file_mtime_ns", "file_bytes")
_OWN_COLUMNS = ("run_id", "status", "reason", "strategy", "seed", "epoch", "epochs", "stop_reason")


@dataclass(frozen=True)
class RunFile:
    """A run file as the folder listing shows it."""

    run_id: str
    path: Path
    mtime_ns: int
    size: int
    inode: int


def scan(folder: Path | str) -> tuple[list[RunFile], list[str]]:
    """List the run files of a store, sorted by id, and one line for everything else that lies among them."""
    found: list[RunFile] = []
    problems: list[str] = []
    root = runs_folder(folder)
    for path in _files(root, problems):
        name = path.name
        if is_temporary(path) or ".damaged-" in name or name.endswith(".ckpt.h5"):
            continue
        try:
            expected = run_path(folder, path.stem) if path.suffix == ".h5" else None
        except StoreError:
            expected = None
        if expected != path:
            problems.append(f"{path}: not a run file of this store, left out; move it elsewhere")
            continue
        try:
            status = path.stat()
        except OSError as error:
            problems.append(f"{path}: cannot be read ({error.strerror}); check its permissions")
            continue
        found.append(RunFile(path.stem, path, status.st_mtime_ns, status.st_size, status.st_ino))
    return sorted(found, key=lambda file: file.run_id), problems


def summary(record: RunRecord) -> dict[str, Any]:
    """Return the row of a run: state, strategy and its options, seed, epochs, seconds, metrics, then the whole spec.

    Options and metrics stand under their own names, the rest of the spec as ``section.key``.
    """
    strategy = record.spec.get("strategy", {})
    row: dict[str, Any] = {
        "run_id": record.run_id,
        "status": record.status,
        "reason": record.reason,
        "strategy": strategy.get("name", ""),
        "seed": record.spec.get("seed"),
    }
    for key, value in strategy.items():
        if key != "name":
            row[f"strategy.{key}" if key in _OWN_COLUMNS else key] = _cell(value)
    row |= {"epoch": record.epoch, "epochs": record.epochs, "stop_reason": record.stop_reason}
    row |= {key: value for key, value in record.timing.items() if key not in row}
    row |= {f"metric.{key}" if key in row else key: value for key, value in record.metrics.items()}
    for section, values in record.spec.items():
        if section in {"strategy", "seed"}:
            continue
        if isinstance(values, Mapping):
            row |= {f"{section}.{key}": _cell(value) for key, value in values.items()}
        else:
            row[section] = _cell(values)
    return row


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
    data = pack(
        INDEX_FORMAT,
        INDEX_VERSION,
        lambda file: write_table(file, "runs", {**columns, **stamps}, rows=len(rows)),
    )
    publish_bytes(Path(folder) / INDEX_FILE, data)


def read_index(folder: Path | str) -> dict[str, tuple[int, int, dict[str, Any]]]:
    """Return ``run id -> (mtime in ns, size in bytes, row)``; empty when there is no index.

    Raises
    ------
    StoreError
        When the index is foreign or damaged: :func:`rebuild_index` replaces it.
    """
    path = Path(folder) / INDEX_FILE
    if not path.exists():
        return {}
    with open_envelope(path, INDEX_FORMAT, INDEX_VERSION) as file:
        try:
            table = read_table(file, "runs")
            lists = {key: values.tolist() for key, values in table.items()}
            mtimes, sizes = lists.pop(_STAMP[0]), lists.pop(_STAMP[1])
            names = list(lists)
            rows = [dict(zip(names, values, strict=True)) for values in zip(*lists.values(), strict=True)]
            return {row["run_id"]: (mtime, size, row) for mtime, size, row in zip(mtimes, sizes, rows, strict=True)}
        except (StoreError, KeyError, ValueError, TypeError, OSError, RuntimeError) as error:
            raise StoreError(f"{path}: damaged index ({error}); it is rebuilt from the run files") from error


def rebuild_index(folder: Path | str) -> int:
    """Make the index again from the run files alone and publish it; return how many runs it has.

    Unreadable run files are left out (``Store.problems`` names them).
    """
    rows = []
    for file in scan(folder)[0]:
        try:
            record = read_run(file.path, tables=False, network=False)
        except StoreError:
            continue
        if record.complete:
            rows.append((file, summary(record)))
    write_index(folder, rows)
    return len(rows)


def _files(root: Path, problems: list[str]) -> list[Path]:
    paths = []
    try:
        with os.scandir(root) as groups:
            for group in groups:
                if not group.is_dir(follow_symlinks=False):
                    problems.append(f"{group.path}: not a folder of run files, left out; move it elsewhere")
                    continue
                with os.scandir(group.path) as entries:
                    paths += [root / group.name / entry.name for entry in entries]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{root}: cannot be read ({error.strerror}); check its permissions") from error
    return paths


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else canonical_json(value)
