"""Damaged files: every truncation of a run file, random single-bit flips anywhere in a store."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from failpoints import Trials
from life import NAMES, SPECS, STEPS, B, contents, run_result, scratch

from dash_hpc.errors import StoreError
from dash_hpc.store import RunRecord, RunWriter, compare_records, open_store, read_run, run_path, verify

# Reading a store of this size takes milliseconds; what takes a second hangs.
_LONGEST_SECONDS = 5.0


def truncations() -> Trials:
    """Cut a run file at every length: no crash, and never a record."""
    trials = Trials()
    with scratch() as place:
        writer = RunWriter(place, B, SPECS[1], {"host": "here"})
        writer.finish(**run_result(1))
        path = run_path(place, B)
        whole = path.stat().st_size
        for length in range(whole - 1, -1, -1):
            os.truncate(path, length)
            trials.count += 1
            try:
                read_run(path)
            except StoreError as error:
                if "\n" in str(error) or str(path) not in str(error):
                    trials.failures.append(f"length {length}: not one line with the path")
            except Exception as error:
                trials.failures.append(f"length {length}: {type(error).__name__}: {error}")
            else:
                trials.failures.append(f"length {length} of {whole} passes for a record")
    return trials


def bit_flips(flips: int, seed: int) -> Trials:
    """Flip one random bit of a file of a store: ``verify`` names it, and no reader takes the changed bytes for good.

    Two stores take turns, one with run files, checkpoints and an index, one compacted.
    """
    trials = Trials()
    rng = np.random.default_rng(seed)
    with scratch() as place:
        stores = [_Victim.make(place / "files", "finish C"), _Victim.make(place / "bundles", NAMES[-1])]
        for k in range(flips):
            victim = stores[k % 2]
            sizes = np.array([path.stat().st_size for path in victim.paths], dtype=float)
            # Half by size, half with equal chances for every file, so that small ones count too.
            weights = sizes / sizes.sum() if k % 4 < 2 else np.full(len(sizes), 1 / len(sizes))
            path = victim.paths[int(rng.choice(len(sizes), p=weights))]
            position, bit = int(rng.integers(path.stat().st_size)), int(rng.integers(8))
            trials.count += 1
            label = f"{path.relative_to(victim.folder)}, byte {position}, bit {bit}"
            trials.failures += [f"{label}: {text}" for text in victim.flip(path, position, bit)]
    return trials


@dataclass
class _Victim:
    """A store, its files, and what readers find in it while nothing is damaged."""

    folder: Path
    paths: list[Path]
    records: dict[str, RunRecord]
    table: dict[str, dict[str, Any]]

    @classmethod
    def make(cls, folder: Path, last: str) -> _Victim:
        for name in NAMES[: NAMES.index(last) + 1]:
            STEPS[name](folder)
        if (folder / "bundles").exists() and last != NAMES[-1]:
            # Own files only: in this life compaction has taken place.
            shutil.rmtree(folder / "bundles")
            for name in ("begin A", "finish A", "begin B", "fail B", "index"):
                STEPS[name](folder)
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        if verify(folder).damaged:
            raise RuntimeError(f"{folder} is damaged before a bit was flipped")
        records = {run_id: read_run(folder, data=data) for run_id, data in contents(folder).items() if data is not None}
        return cls(folder, paths, records, _table(folder))

    def flip(self, path: Path, position: int, bit: int) -> list[str]:
        """Flip a bit, read everything, flip it back; return what was wrong."""
        stamp = path.stat()
        whole = path.read_bytes()
        data = bytearray(whole)
        data[position] ^= 1 << bit
        wrong: list[str] = []
        began = time.monotonic()
        try:
            path.write_bytes(data)
            # The worst case: the disk changed a bit and the times of the file do not tell.
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
            if not verify(self.folder).damaged:
                wrong.append("not detected by verify")
            wrong += self._used()
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {error}")
        finally:
            path.write_bytes(whole)
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        if time.monotonic() - began > _LONGEST_SECONDS:
            wrong.append(f"took more than {_LONGEST_SECONDS} s")
        return wrong

    def _used(self) -> list[str]:
        """Return which changed row or record a reader took for good."""
        store = open_store(self.folder)
        wrong = []
        for run_id, row in _table(self.folder).items():
            if row != self.table[run_id]:
                wrong.append(f"a changed row of run {run_id} is used")
        for run_id, good in self.records.items():
            try:
                record = store.record(run_id)
            except StoreError:
                continue
            if compare_records(good, record):
                wrong.append(f"a changed record of run {run_id} is used")
        return wrong


def _table(folder: Path) -> dict[str, dict[str, Any]]:
    names = ["status", "reason", "seed", "validation_mse", "sparsity", "epochs"]
    rows = open_store(folder).runs[names].astype(object)
    # A metric that a run lacks is NaN, and NaN is not equal to itself.
    return {key: {name: repr(value) for name, value in row.items()} for key, row in rows.iterrows()}
