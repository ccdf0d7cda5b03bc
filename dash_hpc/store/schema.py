"""What stands in the files of a store: names, version, and how columns and texts are laid out in HDF5.

A table is a group with one dataset per column, all of equal length. A column is int64, float64, bool or fixed-length
UTF-8; whatever else a value may be is kept as JSON text and marked with the attribute ``kind = "json"``. Each dataset
carries the attribute ``sha256`` of its little-endian C-order bytes.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dash_hpc.errors import StoreError
from dash_hpc.store.hdf5 import Dataset, Group
from dash_hpc.store.notes import Shape, anything, number, parse_json, record, text, whole
from dash_hpc.store.publish import canonical_json

__all__ = [
    "INDEX_FORMAT",
    "INDEX_VERSION",
    "LARGEST_UNFOLDING",
    "LONGEST_TEXT",
    "RUN_FORMAT",
    "RUN_VERSION",
    "SPEC",
    "STATES",
    "check_claims",
    "read_array",
    "read_json",
    "read_table",
    "read_text",
    "row_count",
    "run_path",
    "runs_folder",
    "write_array",
    "write_table",
    "write_text",
]

RUN_FORMAT = "dash-hpc run"
RUN_VERSION = 1
INDEX_FORMAT = "dash-hpc index"
INDEX_VERSION = 2
STATES = ("running", "done", "failed")

_RUN_ID = re.compile(r"[0-9a-f]{16}")
_COMPRESS_FROM = 1024
# Arrays of this size and more are stored as they are, so that no small file can unfold to a large one.
_COMPRESS_BELOW_BYTES = 1 << 24
# Nor may many: so much more than they take on disk may the arrays of a file, and those of a table, need in memory.
# (Earlier versions compressed up to 64 MB.)
LARGEST_UNFOLDING = 1 << 28
_LARGEST_TABLE = 1 << 26
#: Texts of a file: spec, provenance, notes.
LONGEST_TEXT = 1 << 23
_section = record({}, others=anything)
#: A run's spec, as far as tables of runs are made of it.
SPEC = record(
    {
        "strategy": record({"name": text(100)}, dict.fromkeys(("lambda_ppi", "lambda_motif"), number), anything),
        "seed": whole(),
    },
    {
        **dict.fromkeys(("data", "solver"), _section),
        "model": record({}, {"hidden": whole(0)}, anything),
        "training": record({}, {"epochs": whole(0)}, anything),
        "schedule": record({}, dict.fromkeys(("first_epoch", "every", "fraction", "first_fraction"), number), anything),
        "data_digest": text(200),
    },
    anything,
)


def runs_folder(folder: Path | str) -> Path:
    """Return the folder of run files of the store ``folder``."""
    return Path(folder) / "runs"


def run_path(folder: Path | str, run_id: str) -> Path:
    """Return the path of a run's file, ``runs/<xx>/<run-id>.h5``.

    Raises
    ------
    StoreError
        When ``run_id`` is not 16 lower-case hexadecimal digits.
    """
    if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id):
        raise StoreError(f"run id {run_id!r} in {folder}: a run id has 16 hexadecimal digits; see the table of runs")
    return runs_folder(folder) / run_id[:2] / f"{run_id}.h5"


def write_array(group: h5py.Group, name: str, values: np.ndarray) -> None:
    """Write ``values`` with its checksum; arrays of 1024 entries to 16 MB are shuffled and deflated."""
    array = np.ascontiguousarray(values)
    if array.size >= _COMPRESS_FROM and array.nbytes < _COMPRESS_BELOW_BYTES:
        dataset = group.create_dataset(
            name, data=array, compression="gzip", compression_opts=1, shuffle=True, track_times=False
        )
    else:
        dataset = group.create_dataset(name, data=array, track_times=False)
    dataset.attrs["sha256"] = np.bytes_(_checksum(array))


def read_array(group: Group, name: str) -> np.ndarray:
    """Read an array and check it against its checksum.

    Raises
    ------
    StoreError
        When it is missing, impossibly large for its file, or differs from its checksum.
    """
    dataset = group.dataset(name)
    if dataset.weight - dataset.storage > LARGEST_UNFOLDING:
        raise StoreError(f"dataset {dataset.name} claims {dataset.nbytes} bytes, far more than its file holds")
    array = dataset.read()
    if dataset.fact("sha256") != _checksum(array).encode():
        raise StoreError(f"dataset {dataset.name} differs from its checksum")
    return array


def check_claims(group: Group, limit: int) -> None:
    """Raise StoreError when the datasets at and below ``group``, not yet read, need far more memory than disk."""
    if sum(dataset.weight - dataset.storage for dataset in group.datasets()) > limit:
        claimed = sum(dataset.nbytes for dataset in group.datasets())
        raise StoreError(f"{group.name} claims {claimed} bytes, far more than its file holds")


def write_text(group: h5py.Group, name: str, text: str) -> None:
    """Write one text as a fixed-length UTF-8 scalar with its checksum."""
    data = text.encode() or b"\0"
    array = np.array(data, dtype=h5py.string_dtype("utf-8", len(data)))
    dataset = group.create_dataset(name, data=array, track_times=False)
    dataset.attrs["sha256"] = np.bytes_(_checksum(array))


def read_text(group: Group, name: str, longest: int = LONGEST_TEXT) -> str:
    """Read what :func:`write_text` wrote; raises :class:`StoreError` when missing, damaged or too long."""
    dataset = group.dataset(name)
    if dataset.shape or dataset.dtype.kind != "S" or dataset.nbytes > longest:
        raise StoreError(f"dataset {dataset.name} is no text, or one of more than {longest} bytes")
    return _utf8(read_array(group, name).item(), dataset.name)


def read_json(group: Group, name: str, shape: Shape, *, longest: int = LONGEST_TEXT, endless: bool = False) -> Any:
    """Read a text that has to be JSON of this shape; raises :class:`StoreError`."""
    try:
        return parse_json(read_text(group, name, longest), shape, endless=endless)
    except StoreError as error:
        raise StoreError(f"{group.below(name)}: {error}") from error


def write_table(
    parent: h5py.Group, name: str, columns: Mapping[str, Sequence[Any] | np.ndarray], *, rows: int | None = None
) -> None:
    """Write columns of equal length as group ``name``; ``rows`` is needed only when there is no column.

    Raises
    ------
    StoreError
        When the columns differ in length or a name cannot be a dataset's.
    """
    group = parent.create_group(name)
    lengths = {key: len(values) for key, values in columns.items()}
    count = rows if rows is not None else next(iter(lengths.values()), 0)
    for key, length in lengths.items():
        if length != count:
            raise StoreError(f"column {key!r} of table {name!r} has {length} rows where {count} belong")
        if not key or "/" in key or key == ".":
            raise StoreError(f"column name {key!r} of table {name!r} cannot be stored: no slash, not empty")
    group.attrs["rows"] = np.int64(count)
    # HDF5 lists names alphabetically; the order of the columns is part of the record.
    group.attrs["columns"] = _texts(list(columns))
    for key, values in columns.items():
        array, kind = _encode(values)
        write_array(group, key, array)
        if kind:
            group[key].attrs["kind"] = np.bytes_(kind)


def read_table(parent: Group, name: str, limit: int = _LARGEST_TABLE) -> dict[str, np.ndarray]:
    """Read a table as columns; texts become ``object`` arrays of ``str``, JSON columns arrays of Python values.

    Raises
    ------
    StoreError
        When a column is missing, damaged, of another length or type, or the table needs ``limit`` bytes more than disk.
    """
    group = parent.group(name)
    count = row_count(group)
    listed = group.attribute("columns", np.ndarray)
    names = [_utf8(item, f"a column's name of {group.name}") for item in listed] if listed.dtype.kind == "S" else []
    if len(set(names)) != len(names) or set(names) != group.members.keys() or len(listed) != len(names):
        raise StoreError(f"table {group.name}: its columns are not those that it lists")
    check_claims(group, limit)
    columns = {}
    for key in names:
        dataset = group.dataset(key)
        if dataset.shape != (count,):
            raise StoreError(f"column {dataset.name} has shape {dataset.shape} where ({count},) belongs")
        columns[key] = _decode(read_array(group, key), dataset)
    return columns


def row_count(group: Group) -> int:
    """Return the number of rows of a table."""
    count = group.attribute("rows", int)
    if count < 0:
        raise StoreError(f"table {group.name} has {count} rows")
    return count


def _checksum(array: np.ndarray) -> str:
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _encode(values: Sequence[Any] | np.ndarray) -> tuple[np.ndarray, str]:
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        return _widen(values), ""
    items = [item.item() if isinstance(item, np.generic) else item for item in values]
    kinds = {type(item) for item in items}
    if kinds <= {bool} and items:
        return np.array(items, dtype=bool), ""
    if kinds == {int} and all(-(2**63) <= item < 2**63 for item in items):
        return np.array(items, dtype=np.int64), ""
    if kinds <= {float, int, type(None)} and float in kinds:
        return np.array([math.nan if item is None else item for item in items], dtype=np.float64), ""
    if kinds <= {str} and all("\0" not in item for item in items):
        return _texts(items), ""
    return _texts([canonical_json(item) for item in items]), "json"


def _widen(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "b":
        return values
    return values.astype(np.float64 if values.dtype.kind == "f" else np.int64)


def _texts(items: Sequence[str]) -> np.ndarray:
    encoded = [item.encode() for item in items]
    width = max((len(item) for item in encoded), default=1) or 1
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", width))


def _decode(array: np.ndarray, dataset: Dataset) -> np.ndarray:
    if array.dtype.kind != "S":
        return array
    texts = [_utf8(item, dataset.name) for item in array]
    result = np.empty(len(texts), dtype=object)
    for row, item in enumerate(texts):
        result[row] = parse_json(item, endless=True) if dataset.holds_json else item
    return result


def _utf8(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise StoreError(f"{name} is not UTF-8") from None
