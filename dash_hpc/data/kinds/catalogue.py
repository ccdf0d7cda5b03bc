"""``kind = "catalogue"``: published data sets, below the folder that an environment variable names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dash_hpc.data.catalogue import CATALOGUE, DATA_ROOT, CatalogueEntry
from dash_hpc.data.dataset import DataSet
from dash_hpc.data.kinds.base import PRIOR_KEYS, DataKind, Spec
from dash_hpc.data.kinds.sources import Sources, assemble, checked_files
from dash_hpc.data.readers import Source
from dash_hpc.errors import DataError

__all__ = ["CatalogueKind"]

_EXPRESSION = ("train", "validation", "test")


class CatalogueKind(DataKind):
    """A data set of :data:`dash_hpc.data.CATALOGUE`."""

    name = "catalogue"

    def build(self, spec: Spec, *, seed: int, base: Path) -> DataSet:
        self.files(spec, base)
        return assemble(_sources(spec), spec, seed)

    def files(self, spec: Spec, base: Path) -> dict[str, Path]:
        entry = _entry(spec)
        remedy = (
            f"data set {entry.name} needs it below the folder that {DATA_ROOT} names ({os.environ.get(DATA_ROOT)}); "
            f"it comes from {entry.origin}"
        )
        return checked_files(_sources(spec), lambda role: remedy)


def _entry(spec: Spec) -> CatalogueEntry:
    name = spec.get("name")
    if name not in CATALOGUE:
        raise DataError(f"data.name {name!r} is not in the catalogue; it has {', '.join(CATALOGUE)}")
    return CATALOGUE[name]


def _sources(spec: Spec) -> Sources:
    entry = _entry(spec)
    root = os.environ.get(DATA_ROOT)
    if not root:
        raise DataError(
            f"data set {entry.name} needs published files: set the environment variable {DATA_ROOT} to the folder "
            f"that holds {entry.folder}/"
        )
    folder = Path(root).expanduser() / entry.folder
    noise = float(spec.get("prior_noise") or 0.0)
    if noise and not entry.files.get("prior"):
        raise DataError(f"data.prior_noise is {noise:g}, but no prior was published for {entry.name}; set it to 0")
    if not entry.files.get("prior") and (asked := next((key for key in PRIOR_KEYS if spec.get(key)), "")):
        raise DataError(f"data.{asked} changes a prior, but none was published for {entry.name}; leave it out")
    files: dict[str, Any] = {
        role: Source(folder / file) if role in _EXPRESSION else folder / file for role, file in entry.files.items()
    }
    notes = list(entry.notes)
    corrupt = noise
    for level, file in entry.prior_levels.items():
        if abs(level - noise) < 1e-12:
            files["prior"], corrupt = folder / file, 0.0
            notes.append(f"prior: the published file {file}, {level:.0%} of the edges relocated")
    return Sources(
        name=entry.name,
        hold_out=entry.hold_out,
        prior_to_corrupt=corrupt,
        prior_signed=entry.prior_signed,
        notes=tuple(notes),
        **files,
    )
