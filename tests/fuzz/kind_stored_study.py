from __future__ import annotations

from pathlib import Path
from random import Random

from kind import Case
from mutators import change_bytes, change_text
from victim import StoreKind


class StoredStudy(StoreKind):
    """study.toml in the folder of results, which bears a checksum."""

    name = "study.toml of results"
    short = 100

    def victim(self) -> Path:
        return self.folder / "study.toml"

    def mutate(self, rng: Random) -> Case:
        return Case(*(change_bytes if rng.random() < 0.5 else change_text)(self.good, rng))
