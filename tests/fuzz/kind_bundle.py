from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random

from kind import Case
from mutators import change_bytes, change_text
from mutators_hdf5 import forge
from victim import StoreKind

from dash_hpc.store.bundle import pack_bundle, read_contents, read_member


class Bundle(StoreKind):
    """A bundle with a run that is done and one that failed."""

    name = "bundle"
    compacted = True

    def victim(self) -> Path:
        (path,) = (self.folder / "bundles").glob("*.h5")
        return path

    def mutate(self, rng: Random) -> Case:
        how = rng.random()
        if how < 0.3:
            # A run in it was forged, and all checksums are right.
            runs = [
                (member.run_id, member.status, read_member(self.path, member)) for member in read_contents(self.path)
            ]
            k = rng.randrange(len(runs))
            label, data = forge(runs[k][2], rng)
            runs[k] = (runs[k][0], rng.choice((runs[k][1], "done", "failed", "running")), data)
            return Case(f"run in it: {label}", pack_bundle(runs), forged=True)
        if how < 0.5:
            return self._forged_list(rng)
        return Case(*change_bytes(self.good, rng))

    def _forged_list(self, rng: Random) -> Case:
        """Change the text in front, and renew its checksum."""
        end = self.good.index(b"\n \n" if b"\n \n" in self.good else b"\n  ")
        label, text = change_text(self.good[: end + 1], rng)
        lines = [line for line in text.split(b"\n") if not line.startswith(b"sha256")]
        for k, line in enumerate(lines):
            if line.startswith(b"contents-sha256"):
                lines[k] = b"contents-sha256 " + b"0" * 64
                digest = hashlib.sha256(b"\n".join(lines)).hexdigest()
                lines[k] = b"contents-sha256 " + digest.encode()
        found = [line for line in text.split(b"\n") if line.startswith(b"sha256")]
        text = b"\n".join([*lines[:3], *found[:1], *lines[3:]])
        return Case(f"list: {label}", text.ljust(end + 1) + self.good[max(end + 1, len(text)) :], forged=True)
