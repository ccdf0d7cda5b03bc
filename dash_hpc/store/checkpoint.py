"""Checkpoints of runs under way: ``runs/<xx>/<run-id>.ckpt.h5`` and ``<run-id>.2.ckpt.h5``, written in turn.

The older of the two is replaced, as a whole and behind the same envelope as all files, so that one good checkpoint
always remains whatever happens to the other. Both go when the run is done.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dash_hpc.errors import OtherVersion, StoreError
from dash_hpc.store.envelope import open_envelope, to_bytes
from dash_hpc.store.notes import anything, listing, record, text, whole
from dash_hpc.store.publish import canonical_json, publish_bytes, remove_file, set_aside
from dash_hpc.store.runfile import PROVENANCE
from dash_hpc.store.schema import (
    LARGEST_UNFOLDING,
    check_claims,
    read_array,
    read_json,
    run_path,
    write_array,
    write_text,
)

__all__ = [
    "CHECKPOINT_FORMAT",
    "CHECKPOINT_VERSION",
    "CheckpointFile",
    "StoredCheckpoint",
    "checkpoint_paths",
    "read_checkpoint",
]

CHECKPOINT_FORMAT = "dash-hpc checkpoint"
CHECKPOINT_VERSION = 1
# Facts hold all pruning events so far.
_LONGEST_FACTS = 1 << 24
_object = record({}, others=anything)
_SUFFIXES = (".ckpt.h5", ".2.ckpt.h5")


@dataclass(frozen=True)
class StoredCheckpoint:
    """Content of a checkpoint file: the last complete epoch, facts (JSON) and arrays by name, where it was made."""

    path: Path
    run_id: str
    epoch: int
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]
    provenance: dict[str, Any]


def checkpoint_paths(folder: Path | str, run_id: str) -> tuple[Path, Path]:
    """Return the two places where checkpoints of a run may lie; raises :class:`StoreError` for a malformed id."""
    path = run_path(folder, run_id)
    first, second = (path.with_name(run_id + suffix) for suffix in _SUFFIXES)
    return first, second


def read_checkpoint(path: Path | str, *, arrays: bool = True) -> StoredCheckpoint:
    """Read a checkpoint file, checked as a whole.

    With ``arrays=False`` its arrays are looked at one by one and not kept.

    Raises
    ------
    StoreError
        Missing, foreign, of another version, truncated or damaged file; with its path and the remedy.
    """
    path = Path(path)
    with open_envelope(path, CHECKPOINT_FORMAT, CHECKPOINT_VERSION) as file:
        check_claims(file, LARGEST_UNFOLDING)
        group = file.group("arrays")
        names = dict(read_json(file, "names", listing(_name_and_shape)))
        if names.keys() != {dataset.name.removeprefix("/arrays/") for dataset in group.datasets()}:
            raise StoreError("its arrays are not those that it lists")
        kept = {}
        for name, shape in names.items():
            array = read_array(group, name)
            if array.dtype.kind not in "biuf" or array.size != math.prod(shape):
                raise StoreError(f"array {name}: {array.size} values of {array.dtype} cannot have shape {shape}")
            if arrays:
                kept[name] = array.reshape(shape)
        return StoredCheckpoint(
            path=path,
            run_id=read_json(file, "run_id", text(16, "[0-9a-f]{16}")),
            epoch=int(file.attribute("epoch", int)),
            facts=read_json(file, "facts", _object, longest=_LONGEST_FACTS, endless=True),
            arrays=kept,
            provenance=read_json(file, "provenance", PROVENANCE),
        )


def _name_and_shape(value: Any) -> str:
    if not isinstance(value, list) or len(value) != 2:
        return "an array's name and shape belong here"
    return text(200)(value[0]) or listing(whole(0), 8)(value[1])


class CheckpointFile:
    """The checkpoints of one run.

    Parameters
    ----------
    folder : path
        The store.
    run_id : str
        16 hexadecimal digits.
    guard : callable, optional
        Called right before a checkpoint takes effect; raises when the run is no longer the caller's.

    Attributes
    ----------
    problems : list of str
        One line for each damaged checkpoint that :meth:`load` has set aside.
    """

    def __init__(self, folder: Path | str, run_id: str, guard: Callable[[], None] | None = None) -> None:
        self._guard = guard
        self.run_id = run_id
        self.paths = checkpoint_paths(folder, run_id)
        self.problems: list[str] = []
        self._next = 0

    def load(self) -> StoredCheckpoint | None:
        """Return the newest good checkpoint, None without any; damaged ones are renamed and reported.

        Raises
        ------
        OtherVersion
            When another version of dash-hpc wrote one.
        """
        found: list[tuple[int, StoredCheckpoint]] = []
        for k, path in enumerate(self.paths):
            if not path.is_symlink() and not path.exists():
                continue
            try:
                stored = read_checkpoint(path)
                if stored.run_id != self.run_id:
                    raise StoreError(f"{path}: holds run {stored.run_id}")
            except OtherVersion:
                raise
            except StoreError as error:
                self._put_away(path, str(error))
            else:
                found.append((k, stored))
        if not found:
            self._next = 0
            return None
        newest, stored = max(found, key=lambda item: item[1].epoch)
        self._next = 1 - newest
        return stored

    def reject(self, stored: StoredCheckpoint, reason: str) -> StoredCheckpoint | None:
        """Set aside a checkpoint that was read but cannot be used; return the other one, if there is one."""
        self._put_away(stored.path, reason)
        return self.load()

    def save(
        self, epoch: int, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray], provenance: Mapping[str, Any]
    ) -> Path:
        """Publish a checkpoint in place of the older one and return its path.

        Raises
        ------
        StoreError
            When it cannot be written; the earlier ones are intact.
        """

        def fill(file: h5py.File) -> None:
            file.attrs["epoch"] = np.int64(epoch)
            file.attrs["complete"] = True
            write_text(file, "run_id", json.dumps(self.run_id))
            write_text(file, "provenance", canonical_json(dict(provenance)))
            # Not canonical: the order of an event's keys is that of the columns in the run file.
            write_text(file, "facts", json.dumps(dict(facts)))
            write_text(file, "names", canonical_json([[name, list(value.shape)] for name, value in arrays.items()]))
            group = file.create_group("arrays")
            for name, value in arrays.items():
                write_array(group, name, value)

        path = self.paths[self._next]
        # The folder is there since the run's first record: one that has vanished is not made anew.
        data = to_bytes(CHECKPOINT_FORMAT, CHECKPOINT_VERSION, fill)
        publish_bytes(path, data, make_parents=False, guard=self._guard)
        self._next = 1 - self._next
        return path

    def remove(self) -> None:
        """Delete the checkpoints: their run is done."""
        for path in self.paths:
            remove_file(path)

    def _put_away(self, path: Path, reason: str) -> None:
        renamed = set_aside(path)
        self.problems.append(f"{reason.split('; move')[0]}; it is now {renamed.name}")
