from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from kind import Case
from note import NoteKind, forge_note

from dash_hpc.execution.claims import lease


class Lease(NoteKind):
    """The lease of a driver that lives."""

    name = "lease"

    def write(self) -> Path:
        self.lease = lease.Lease(self.folder, "driver", seconds=3600)
        if self.lease.acquire() is not None:
            raise RuntimeError("somebody else is here")
        return next((self.folder / "lease").glob("driver.*.lease"))

    def forge(self, rng: Random) -> Case:
        counter, note, holder = self.good.decode().split("\n", 2)
        text = json.dumps(forge_note(json.loads(holder), rng))
        return Case("holder", f"{counter}\n{note}\n{text}\n".encode(), forged=True)

    def read(self) -> Any:
        other = lease.Lease(self.folder, "driver", seconds=3600)
        held = other.look()
        if held is None:
            raise RuntimeError("there is no lease")
        str(held)
        if held.foreign:
            return None
        # Counter and note are changed in place while the holder lives, so no checksum covers them.
        other.observer.dead(held)
        other.observer.alive(held)
        return None if held.holder is None else held.holder
