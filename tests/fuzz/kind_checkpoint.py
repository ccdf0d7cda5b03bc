from __future__ import annotations

from pathlib import Path
from random import Random

from kind import Case
from mutators import change_bytes
from mutators_hdf5 import forge
from victim import StoreKind

from dash_hpc.errors import StoreError
from dash_hpc.store.checkpoint import read_checkpoint


class Checkpoint(StoreKind):
    """The checkpoint of a run under way."""

    name = "checkpoint"

    def victim(self) -> Path:
        return self.checkpoint

    def mutate(self, rng: Random) -> Case:
        if rng.random() < 0.6:
            return Case(*forge(self.good, rng), forged=True)
        return Case(*change_bytes(self.good, rng))

    def own_changes(self) -> list[str]:
        try:
            found = read_checkpoint(self.path)
        except StoreError:
            return []
        same = found.epoch == 1 and found.facts == {"epoch": 1} and found.arrays["w"].tolist() == [1.0] * 300
        return [] if same else ["a changed checkpoint is used"]
