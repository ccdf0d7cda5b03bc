from __future__ import annotations

from pathlib import Path
from random import Random

from kind import Case
from life import A
from mutators import change_bytes
from mutators_hdf5 import forge
from victim import StoreKind

from dash_hpc.store import run_path


class Run(StoreKind):
    """The file of a run that is done."""

    name = "run file"

    def victim(self) -> Path:
        return run_path(self.folder, A)

    def mutate(self, rng: Random) -> Case:
        if rng.random() < 0.6:
            return Case(*forge(self.good, rng), forged=True)
        return Case(*change_bytes(self.good, rng))
