from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from random import Random

from kind import Case
from life import IDS, SPECS
from mutators import change_bytes, change_json, change_text
from victim import StoreKind

from dash_hpc.errors import StoreError
from dash_hpc.ids import spec_id
from dash_hpc.store import open_store, planned_ids, planned_spec


class Plan(StoreKind):
    """plan.jsonl."""

    name = "plan.jsonl"

    def victim(self) -> Path:
        return self.folder / "plan.jsonl"

    def mutate(self, rng: Random) -> Case:
        how = rng.random()
        if how < 0.25:
            return Case(*change_bytes(self.good, rng))
        if how < 0.5:
            return Case(*change_text(self.good, rng))
        label, lines = self._forged_row(rng) if how < 0.75 else self._forged_header(rng)
        return Case(label, _sealed(b"\n".join(lines)), forged=True)

    def _forged_row(self, rng: Random) -> tuple[str, list[bytes]]:
        lines = self.good.split(b"\n")
        k = rng.randrange(1, len(lines) - 1)
        if rng.random() < 0.3:
            label, lines[k] = change_text(lines[k], rng)
            return f"row: {label}", lines
        spec = change_json(json.loads(lines[k])["spec"], rng)
        try:
            run_id = spec_id(spec)
        except ValueError:
            run_id = IDS[0]
        lines[k] = b'{"run_id":"%s","spec":%s}' % (run_id.encode(), json.dumps(spec, separators=(",", ":")).encode())
        return "another spec with its id", lines

    def _forged_header(self, rng: Random) -> tuple[str, list[bytes]]:
        first, *rest = self.good.split(b"\n")
        return "header", [json.dumps(change_json(json.loads(first), rng)).encode(), *rest]

    def own_changes(self) -> list[str]:
        """Whoever reads the plan by itself: the driver, a worker."""
        wrong = []
        # A table without what the plan says is no alteration: whoever opens it is told.
        told = bool(open_store(self.folder).problems)
        try:
            # As a tuple: a list is never equal to one, and every case, the unchanged file too, looked like other runs.
            if planned_ids(self.folder) != tuple(IDS) and not told:
                wrong.append("other runs are planned")
        except StoreError:
            pass
        for run_id, spec in zip(IDS, SPECS, strict=True):
            try:
                if planned_spec(self.folder, run_id) != spec:
                    wrong.append(f"run {run_id} has another spec")
            except StoreError:
                continue
        return wrong


def _sealed(data: bytes) -> bytes:
    """Renew the checksum of a plan, as ``write_plan`` makes it."""
    mark = re.compile(rb'"sha256": "[^"]*"')
    blank = mark.sub(b'"sha256": "' + b"0" * 64 + b'"', data, count=1)
    return mark.sub(b'"sha256": "' + hashlib.sha256(blank).hexdigest().encode() + b'"', data, count=1)
