from __future__ import annotations

from pathlib import Path
from typing import Any

from note import NoteKind

from dash_hpc.execution.slurm.attempts import damaged_notes, jobs, record


class JobNote(NoteKind):
    """What was submitted to Slurm."""

    name = "job note"

    def write(self) -> Path:
        record(self.folder, "17", kind="mpi", script="job-1.sbatch", log=str(self.folder / "log" / "slurm-17.out"))
        return self.folder / "log" / "job-17.json"

    def read(self) -> Any:
        found = jobs(self.folder)
        said = self.command("status")
        if damaged_notes(self.folder):
            if "problem: " not in said:
                raise RuntimeError("status does not say that a note is damaged")
            return None
        return found
