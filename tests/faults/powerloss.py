"""Simulated power loss: what was synced stays; of everything later any subset of sectors and names may be there.

A life of the store is lived once through a layer that records every operation. A crash state is then made by cutting
this record at a random operation and choosing at random which unsynced sectors, and which unsynced changes of folders,
had reached the disk. The model is harsher than real file systems: nothing is ordered but by ``sync`` and
``sync_folder``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from failpoints import Trials
from life import NAMES, STEPS, Life, complaints, finish_life, scratch, through

from dash_hpc.store import FileLayer

SECTOR = 512
# Every so many states the life is lived to its end from there.
_FINISHED = 20


class RecordingLayer(FileLayer):
    """Does everything and keeps a record: (operation, path or descriptor, …), and marks between the steps."""

    def __init__(self) -> None:
        self.record: list[tuple[Any, ...]] = []

    def mark(self, step: int) -> None:
        self.record.append(("step", step))

    def make_folder(self, path: Path) -> None:
        existed = path.exists()
        super().make_folder(path)
        if not existed:
            self.record.append(("make_folder", path))

    def open(self, path: Path) -> int:
        descriptor = super().open(path)
        self.record.append(("open", path, descriptor))
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        count = super().write(descriptor, data)
        self.record.append(("write", descriptor, bytes(data[:count])))
        return count

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        self.record.append(("sync", descriptor))

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        self.record.append(("rename", old, new))

    def sync_folder(self, path: Path) -> None:
        super().sync_folder(path)
        self.record.append(("sync_folder", path))

    def remove(self, path: Path) -> None:
        existed = path.exists()
        super().remove(path)
        if existed:
            self.record.append(("remove", path))

    def remove_folder(self, path: Path) -> None:
        super().remove_folder(path)
        self.record.append(("remove_folder", path))


@dataclass
class Inode:
    """A file: bytes that are safe, and writes since."""

    synced: bytearray = field(default_factory=bytearray)
    content: bytearray = field(default_factory=bytearray)

    def crashed(self, rng: np.random.Generator) -> bytes:
        """Return the bytes after power loss: synced ones, and any subset of the sectors that were written since."""
        if self.content == self.synced:
            return bytes(self.synced)
        kept = bytearray(self.synced)
        share = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        for begin in range(0, len(self.content), SECTOR):
            sector = self.content[begin : begin + SECTOR]
            if sector != self.synced[begin : begin + SECTOR] and rng.random() < share:
                kept.extend(b"\0" * (begin + len(sector) - len(kept)))
                kept[begin : begin + len(sector)] = sector
        return bytes(kept)


@dataclass
class Folder:
    """A folder: entries that are safe, and changes since, each (name removed or "", name added or "", what)."""

    synced: dict[str, Any] = field(default_factory=dict)
    changes: list[tuple[str, str, Any]] = field(default_factory=list)

    def now(self) -> dict[str, Any]:
        return self._with(self.changes)

    def _with(self, changes: list[tuple[str, str, Any]]) -> dict[str, Any]:
        entries = dict(self.synced)
        for gone, come, what in changes:
            if gone and (not come or entries.get(gone) is what):
                entries.pop(gone, None)
            if come:
                entries[come] = what
        return entries

    def crashed(self, rng: np.random.Generator) -> dict[str, Any]:
        share = rng.choice([0.0, 0.5, 1.0])
        return self._with([change for change in self.changes if rng.random() < share])


def disk_after(record: list[tuple[Any, ...]], root: Path) -> Folder:
    """Play the record and return the folder ``root`` with what is synced and what is not."""
    top = Folder()
    open_files: dict[int, Inode] = {}

    def at(path: Path) -> Any:
        place: Any = top
        for part in path.relative_to(root).parts:
            place = place.now()[part]
        return place

    for operation, *arguments in record:
        if operation == "make_folder" and arguments[0] != root:
            at(arguments[0].parent).changes.append(("", arguments[0].name, Folder()))
        elif operation == "open":
            inode = Inode()
            open_files[arguments[1]] = inode
            at(arguments[0].parent).changes.append(("", arguments[0].name, inode))
        elif operation == "write":
            open_files[arguments[0]].content.extend(arguments[1])
        elif operation == "sync":
            inode = open_files[arguments[0]]
            inode.synced = bytearray(inode.content)
        elif operation == "rename":
            old, new = arguments
            at(new.parent).changes.append((old.name, new.name, at(old)))
        elif operation in {"remove", "remove_folder"}:
            at(arguments[0].parent).changes.append((arguments[0].name, "", None))
        elif operation == "sync_folder" and arguments[0] != root.parent:
            folder = at(arguments[0])
            folder.synced, folder.changes = folder.now(), []
    return top


def put(folder: Folder, target: Path, rng: np.random.Generator) -> None:
    """Write one crash state of ``folder``."""
    target.mkdir()
    for name, what in folder.crashed(rng).items():
        if isinstance(what, Folder):
            put(what, target / name, rng)
        else:
            (target / name).write_bytes(what.crashed(rng))


def power_losses(states: int, seed: int, *, layer: Callable[[], RecordingLayer] = RecordingLayer) -> Trials:
    """Check ``states`` random crash states: every reader must see old or new records, and all acknowledged ones."""
    trials = Trials()
    rng = np.random.default_rng(seed)
    with scratch() as place:
        life = Life.live(place / "golden")
        root = place / "recorded"
        recording = layer()
        with through(recording):
            for step, name in enumerate(NAMES):
                recording.mark(step)
                STEPS[name](root)
        record = recording.record
        trials.operations = len(record)
        # The folder itself was made in the first step, and a folder that is not there has lost nothing.
        first = next(k for k, entry in enumerate(record) if entry[0] == "sync_folder" and entry[1] == place) + 1
        for k in range(states):
            cut = int(rng.integers(first, len(record) + 1))
            step = max((entry[1] for entry in record[:cut] if entry[0] == "step"), default=0)
            disk = disk_after(record[:cut], root)
            target = place / "crashed"
            put(disk, target, rng)
            try:
                wrong = complaints(target, life, step)
                if k % _FINISHED == 0:
                    wrong += finish_life(target, life, step)
            except Exception as error:
                wrong = [f"{type(error).__name__}: {error}"]
            trials.count += 1
            trials.failures += [f"state {k}, cut after operation {cut} in {NAMES[step]!r}: {text}" for text in wrong]
            shutil.rmtree(target)
    return trials
