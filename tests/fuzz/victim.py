"""A small store of which one file at a time is changed, and what its readers then say."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import click.testing
from kind import Altered, Case, Kind
from life import IDS, NAMES, STEPS, C

from dash_hpc.cli.app import app
from dash_hpc.errors import StoreError
from dash_hpc.store import RunRecord, compare_records, open_store, verify
from dash_hpc.store.checkpoint import checkpoint_paths

__all__ = ["StoreKind"]

_NAMES = ("status", "reason", "seed", "validation_mse", "sparsity", "epochs")


class StoreKind(Kind):
    """A kind of file of a store that is all there: runs done, failed and running, a checkpoint, index; or bundles."""

    #: Whether run files are bundled.
    compacted = False

    def prepare(self, place: Path) -> None:
        self.folder = place / "out"
        for name in NAMES[: NAMES.index("checkpoint 1") + 1]:
            STEPS[name](self.folder)
        if not self.compacted:
            shutil.rmtree(self.folder / "bundles")
            for name in ("begin A", "finish A", "begin B", "fail B", "index"):
                STEPS[name](self.folder)
        (self.checkpoint,) = [path for path in checkpoint_paths(self.folder, C) if path.exists()]
        self.path = self.victim()
        self.good = self.path.read_bytes()
        self.stamp = self.path.stat()
        store = open_store(self.folder)
        if store.problems or verify(self.folder).damaged:
            raise RuntimeError(f"damaged before anything was changed: {store.problems}, {verify(self.folder).findings}")
        self.records = {run_id: store.record(run_id) for run_id in IDS}
        self.table = _table(store)

    def victim(self) -> Path:
        """Return the file that is changed."""
        raise NotImplementedError

    def check(self, case: Case) -> str:
        self.path.write_bytes(case.data)
        # The worst case: the disk changed something and the times of the file do not tell.
        os.utime(self.path, ns=(self.stamp.st_atime_ns, self.stamp.st_mtime_ns))
        try:
            damaged = verify(self.folder).damaged
            changed = self.changes() + self.own_changes()
            if case.forged:
                self._commands(("status", "select", *(("report",) if changed else ())))
                return "refused" if damaged else "other" if changed else "equal"
            if changed:
                raise Altered("; ".join(changed))
            if case.data != self.good and not damaged:
                raise Altered("verify finds nothing")
            return "refused" if damaged else "equal"
        finally:
            self.path.write_bytes(self.good)
            os.utime(self.path, ns=(self.stamp.st_atime_ns, self.stamp.st_mtime_ns))

    def own_changes(self) -> list[str]:
        """What further readers of this kind of file take for good that is not what was written."""
        return []

    def changes(self) -> list[str]:
        """Which changed row or record of the store a reader takes for good."""
        store = open_store(self.folder)
        wrong = [
            f"a changed row of run {run_id} is used"
            for run_id, row in _table(store).items()
            if row != self.table.get(run_id)
        ]
        for run_id, good in self.records.items():
            try:
                record: RunRecord = store.record(run_id)
            except StoreError:
                continue
            if compare_records(good, record):
                wrong.append(f"a changed record of run {run_id} is used")
        return wrong

    def _commands(self, names: tuple[str, ...]) -> None:
        for name in names:
            answer = click.testing.CliRunner().invoke(app, [name, str(self.folder)])
            if answer.exit_code not in (0, 1, 2, 3) or "internal error" in answer.output:
                raise RuntimeError(f"{name}: {answer.output[-300:]}")


def _table(store: Any) -> dict[str, dict[str, Any]]:
    rows = store.runs.reindex(columns=list(_NAMES)).astype(object)
    # A metric that a run lacks is NaN, and NaN is not equal to itself.
    return {key: {name: repr(value) for name, value in row.items()} for key, row in rows.iterrows()}
