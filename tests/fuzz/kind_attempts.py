from __future__ import annotations

from pathlib import Path
from typing import Any

from note import NoteKind

from dash_hpc.execution.slurm.attempts import begin, damaged_notes, end, failed_nodes, histories

_JOB = {"SLURM_JOB_ID": "17"}


class Attempts(NoteKind):
    """The attempts of a job: one that ended, one under way."""

    name = "attempts"

    def write(self) -> Path:
        begin(self.folder, ["n1", "n2"], environ=_JOB)
        end(self.folder, 1, "USR1", 60, "RUNNING 1:00", down=["n2"], environ=_JOB)
        begin(self.folder, ["n1"], environ=_JOB)
        return self.folder / "log" / "attempts-17.json"

    def read(self) -> Any:
        if damaged_notes(self.folder):
            # The job goes on all the same, with a new record.
            begin(self.folder, ["n1"], environ=_JOB)
            end(self.folder, 1, "", 60, "RUNNING 1:00", environ=_JOB)
            if damaged_notes(self.folder):
                raise RuntimeError("the record stays damaged")
            return None
        found = histories(self.folder, "17")
        failed_nodes(self.folder)
        for history in found:
            history.count("time-out")
            history.idle()
        begin(self.folder, ["n1"], ["n1"], environ=_JOB)
        end(self.folder, 1, "", 60, "RUNNING 1:00", environ=_JOB)
        return [history.attempts for history in found]
