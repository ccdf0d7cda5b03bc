"""Small JSON files beside the results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import click.testing
from kind import Altered, Case, Kind
from life import NAMES, STEPS
from mutators import change_bytes, change_json, change_text

from dash_hpc.cli.app import app
from dash_hpc.store.publish import note_seal

__all__ = ["NoteKind", "forge_note"]


class NoteKind(Kind):
    """A kind of small JSON file of a store. Derived classes write one and say what its readers find."""

    short = 300

    def prepare(self, place: Path) -> None:
        self.folder = place / "out"
        for name in NAMES[: NAMES.index("begin B") + 1]:
            STEPS[name](self.folder)
        self.path = self.write()
        self.good = self.path.read_bytes()
        self.found = self.read()

    def write(self) -> Path:
        """Write the good file and return its path."""
        raise NotImplementedError

    def read(self) -> Any:
        """Return what readers find; None when they say that it is damaged."""
        raise NotImplementedError

    def mutate(self, rng: Random) -> Case:
        how = rng.random()
        if how < 0.25:
            return Case(*change_bytes(self.good, rng))
        if how < 0.5:
            return Case(*change_text(self.good, rng))
        return self.forge(rng)

    def forge(self, rng: Random) -> Case:
        """Change what it says and renew its checksum."""
        return Case("JSON", json.dumps(forge_note(json.loads(self.good), rng)).encode(), forged=True)

    def check(self, case: Case) -> str:
        for path in self.path.parent.glob(f"{self.path.name}.damaged-*"):
            path.unlink()
        self.path.write_bytes(case.data)
        try:
            found = self.read()
        finally:
            self.path.unlink(missing_ok=True)
            self.path.write_bytes(self.good)
        if found is None:
            return "refused"
        if found == self.found:
            return "equal"
        if case.forged:
            return "other"
        raise Altered(f"{str(found)[:200]} is read")

    def command(self, *words: str) -> str:
        """Give a command; return what it says."""
        answer = click.testing.CliRunner().invoke(app, [*words, str(self.folder)])
        if answer.exit_code not in (0, 1, 2, 3) or "internal error" in answer.output:
            raise RuntimeError(f"{words}: {answer.output[-300:]}")
        return answer.output


def forge_note(value: Mapping[str, Any], rng: Random) -> Any:
    """Change what a note says and renew its checksum."""
    changed = change_json({key: item for key, item in value.items() if key != "sha256"}, rng)
    if isinstance(changed, dict):
        changed["sha256"] = note_seal(changed)
    return changed
