"""``kind = "files"``: the user's own files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dash_hpc.data.dataset import DataSet
from dash_hpc.data.kinds.base import DataKind, Spec
from dash_hpc.data.kinds.parts import folds_asked
from dash_hpc.data.kinds.sources import Sources, assemble, checked_files
from dash_hpc.data.readers import Source
from dash_hpc.errors import DataError

__all__ = ["FilesKind"]

_ROLES = ("genes", "design", "prior", "ppi", "ppi_genes", "truth")


class FilesKind(DataKind):
    """Files that the spec names; relative paths start at the study file's folder."""

    name = "files"

    def build(self, spec: Spec, *, seed: int, base: Path) -> DataSet:
        self.files(spec, base)
        return assemble(_sources(spec, base), spec, seed)

    def files(self, spec: Spec, base: Path) -> dict[str, Path]:
        return checked_files(_sources(spec, base), _remedy)


def _remedy(role: str) -> str:
    return f"correct data.{role} (relative paths start at the study file's folder)"


def _sources(spec: Spec, base: Path) -> Sources:
    train = _source(spec.get("train"), "train", base)
    if train is None:
        raise DataError("data.train is missing: name the file with the trajectories")
    paths: dict[str, Any] = {role: _absolute(spec[role], base) for role in _ROLES if spec.get(role)}
    validation = spec.get("validation")
    held: Source | None = None
    hold_out: tuple[int, ...] | float | None = None
    if isinstance(validation, (str, Path)) or (isinstance(validation, Mapping) and "file" in validation):
        held = _source(validation, "validation", base)
    elif isinstance(validation, (list, tuple)):
        hold_out = tuple(validation)
    elif isinstance(validation, (int, float)) and not isinstance(validation, bool):
        hold_out = float(validation)
    elif validation is not None and folds_asked(spec) is None:
        raise DataError(f"data.validation must be a file, trajectory indices or a fraction, got {validation!r}")
    said: dict[str, Any] = {key: spec.get(key) for key in ("prior_columns", "truth_columns", "prior_signed")}
    return Sources(
        name=train.path.name.split(".")[0],
        train=train,
        validation=held,
        test=_source(spec.get("test"), "test", base),
        hold_out=hold_out,
        prior_to_corrupt=float(spec.get("prior_noise") or 0.0),
        **said,
        **paths,
    )


def _source(given: Any, role: str, base: Path) -> Source | None:
    """Return the file of a role: a path, or a table with ``file`` and the keys of its reader."""
    if not given:
        return None
    if not isinstance(given, Mapping):
        return Source(_absolute(given, base))
    if not isinstance(given.get("file"), (str, Path)):
        raise DataError(f"data.{role}.file is missing: name the file with the trajectories")
    return Source(_absolute(given["file"], base), {key: value for key, value in given.items() if key != "file"})


def _absolute(path: str | Path, base: Path) -> Path:
    return Path(base) / Path(path).expanduser()
