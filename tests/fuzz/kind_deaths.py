from __future__ import annotations

from pathlib import Path
from typing import Any

from life import B
from note import NoteKind

from dash_hpc.execution.claims.deaths import count_death, deaths_path, read_deaths


class Deaths(NoteKind):
    """How often a run's worker has died."""

    name = "deaths"

    def write(self) -> Path:
        for _ in range(2):
            count_death(self.folder, B, "killed by signal 9")
        return deaths_path(self.folder, B)

    def read(self) -> Any:
        told: list[str] = []
        found = read_deaths(self.folder, B, told.append)
        if told:
            return None
        # Whoever counts on has to find its count again.
        after = count_death(self.folder, B, "killed by signal 9")
        if read_deaths(self.folder, B) != after:
            raise RuntimeError(f"{after} was written, {read_deaths(self.folder, B)} is read")
        return found
