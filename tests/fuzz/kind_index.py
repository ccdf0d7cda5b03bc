from __future__ import annotations

from pathlib import Path
from random import Random

from kind import Case
from mutators import change_bytes
from mutators_hdf5 import forge
from victim import StoreKind

from dash_hpc.store import rebuild_index


class Index(StoreKind):
    """The index."""

    name = "index"

    def victim(self) -> Path:
        return self.folder / "index.h5"

    def mutate(self, rng: Random) -> Case:
        if rng.random() < 0.6:
            return Case(*forge(self.good, rng), forged=True)
        return Case(*change_bytes(self.good, rng))

    def own_changes(self) -> list[str]:
        # Last, since it replaces the file: whatever stands there, it is made anew.
        rebuild_index(self.folder)
        return [] if self.path.read_bytes() == self.good else ["a rebuilt index is another one"]
