"""What stands in the files of a store: names, version, and how columns and texts are laid out in HDF5.

A table is a group with one dataset per column, all of equal length. A column is int64, float64, bool or fixed-length
UTF-8; whatever else a value may be is kept as JSON text and marked with the attribute ``kind = "json"``. Each dataset
carries the attribute ``sha256`` of its little-endian C-order bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dash_hpc.errors import StoreError
from dash_hpc.store.publish import canonical_json

__all__ = [
    "INDEX_FORMAT",
    "INDEX_VERSION",
    "PRUNABLE",
    "RUN_FORMAT",
    "RUN_VERSION",
    "STATES",
    "TENSORS",
    "check_claims",
    "read_array",
    "read_table",
    "read_text",
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

# The seven tensors of PHOENIX; the store stands beside the models and does not import them.
TENSORS = ("W_sums", "b_sums", "W_prods", "b_prods", "U_sums", "U_prods", "v")
PRUNABLE = ("W_sums", "W_prods", "U_sums", "U_prods")

_RUN_ID = re.compile(r"[0-9a-f]{16}")
_COMPRESS_FROM = 1024
# Arrays of this size and more are stored as they are, so that no small file can unfold to a large one.
_COMPRESS_BELOW_BYTES = 1 << 26
# Nor may many: so much more than they take on disk may the arrays of a table or a checkpoint unfold to.
_LARGEST_UNFOLDING = 1 << 30


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
    """Write ``values`` with its checksum; arrays of 1024 entries to 64 MB are shuffled and deflated."""
    array = np.ascontiguousarray(values)
    if array.size >= _COMPRESS_FROM and array.nbytes < _COMPRESS_BELOW_BYTES:
        dataset = group.create_dataset(
            name, data=array, compression="gzip", compression_opts=1, shuffle=True, track_times=False
        )
    else:
        dataset = group.create_dataset(name, data=array, track_times=False)
    dataset.attrs["sha256"] = np.bytes_(_checksum(array))


def read_array(group: h5py.Group, name: str) -> np.ndarray:
    """Read an array and check it against its checksum.

    Raises
    ------
    StoreError
        When it is missing, impossibly large for its file, or differs from its checksum.
    """
    dataset = group.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise StoreError(f"dataset {group.name.rstrip('/')}/{name} is missing")
    size = dataset.size * dataset.dtype.itemsize
    if size >= _COMPRESS_BELOW_BYTES and size > dataset.id.get_storage_size():
        raise StoreError(f"dataset {dataset.name} claims {size} bytes, more than its file can hold")
    array = np.asarray(dataset[()])
    expected = dataset.attrs.get("sha256")
    if expected is None or bytes(expected).decode("ascii", "replace") != _checksum(array):
        raise StoreError(f"dataset {dataset.name} differs from its checksum")
    return array


def check_claims(group: h5py.Group, names: Sequence[str]) -> None:
    """Raise StoreError when the datasets ``names``, not yet read, claim far more memory together than disk."""
    datasets = [dataset for name in names if isinstance(dataset := group.get(name), h5py.Dataset)]
    claimed = sum(dataset.size * dataset.dtype.itemsize for dataset in datasets)
    if claimed - sum(dataset.id.get_storage_size() for dataset in datasets) > _LARGEST_UNFOLDING:
        raise StoreError(f"{group.name} claims {claimed} bytes, far more than its file holds")


def write_text(group: h5py.Group, name: str, text: str) -> None:
    """Write one text as a fixed-length UTF-8 scalar with its checksum."""
    data = text.encode() or b"\0"
    array = np.array(data, dtype=h5py.string_dtype("utf-8", len(data)))
    dataset = group.create_dataset(name, data=array, track_times=False)
    dataset.attrs["sha256"] = np.bytes_(_checksum(array))


def read_text(group: h5py.Group, name: str) -> str:
    """Read what :func:`write_text` wrote; raises :class:`StoreError` when missing or damaged."""
    return bytes(read_array(group, name).item()).decode()


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


def read_table(parent: h5py.Group, name: str) -> dict[str, np.ndarray]:
    """Read a table as columns; texts become ``object`` arrays of ``str``, JSON columns arrays of Python values."""
    group = parent.get(name)
    if not isinstance(group, h5py.Group):
        raise StoreError(f"table {parent.name.rstrip('/')}/{name} is missing")
    columns = {}
    count = int(group.attrs["rows"])
    names = [bytes(item).decode() for item in group.attrs["columns"]]
    check_claims(group, names)
    for key in names:
        array = read_array(group, key)
        if array.shape != (count,):
            raise StoreError(f"column {group.name}/{key} has shape {array.shape} where ({count},) belongs")
        columns[key] = _decode(array, bytes(group[key].attrs.get("kind", b"")).decode())
    return columns


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


def _decode(array: np.ndarray, kind: str) -> np.ndarray:
    if array.dtype.kind != "S":
        return array
    texts = [bytes(item).decode() for item in array]
    result = np.empty(len(texts), dtype=object)
    for row, text in enumerate(texts):
        result[row] = json.loads(text) if kind == "json" else text
    return result
