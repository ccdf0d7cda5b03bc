"""Which files a data set is made of: from the user's list or from the catalogue, checked to be there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dash_hpc.data.catalogue import CATALOGUE, DATA_ROOT, CatalogueEntry
from dash_hpc.errors import DataError

__all__ = ["Sources", "input_folders", "resolve"]

_ROLES = ("train", "genes", "validation", "test", "prior", "ppi", "truth")
DEFAULT_FRACTION = 0.1


@dataclass(frozen=True)
class Sources:
    """The files of a data set, and how it is divided.

    ``hold_out`` is what becomes the validation part where ``validation`` is not a file: trajectory indices, a
    fraction, or ``("pairs", n)``. The ``columns`` say which column of a list is what, ``prior_signed`` whether the
    prior's signs mean anything; None = as the file shows.
    """

    name: str
    train: Path
    genes: Path | None = None
    validation: Path | None = None
    test: Path | None = None
    prior: Path | None = None
    ppi: Path | None = None
    ppi_genes: Path | None = None
    truth: Path | None = None
    hold_out: tuple[int, ...] | float | tuple[str, int] | None = None
    prior_to_corrupt: float = 0.0
    prior_columns: Mapping[str, str | int] | None = None
    truth_columns: Mapping[str, str | int] | None = None
    prior_signed: bool | None = None
    notes: tuple[str, ...] = ()

    def files(self) -> dict[str, Path]:
        """Role -> file, for the roles that have one."""
        roles = {field.name: getattr(self, field.name) for field in fields(self)}
        return {role: path for role, path in sorted(roles.items()) if isinstance(path, Path)}


def resolve(spec: Mapping[str, Any], base: Path) -> Sources:
    """Turn a data spec of kind "files" or "catalogue" into existing files.

    Raises
    ------
    DataError
        Unknown name or kind, DASH_HPC_DATA not set, a file that is missing.
    """
    sources = _from_catalogue(spec) if spec.get("kind") == "catalogue" else _from_files(spec, base)
    for role, path in sources.files().items():
        if not path.exists():
            raise DataError(f"{path}: file not found; {_remedy(spec, role)}")
        if not path.is_file():
            what = "a folder, not a file" if path.is_dir() else "no plain file"
            raise DataError(f"{path}: is {what}; {_remedy(spec, role)}")
    return sources


def input_folders(spec: Mapping[str, Any], base: Path) -> list[Path]:
    """Return the folders, absolute, that a data spec of any kind reads from; none for simulated data.

    Raises as :func:`resolve` does.
    """
    if spec.get("kind") == "simulate":
        return []
    return sorted({path.absolute().parent for path in resolve(spec, base).files().values()})


def _remedy(spec: Mapping[str, Any], role: str) -> str:
    if spec.get("kind") == "catalogue":
        entry = CATALOGUE[spec["name"]]
        return (
            f"data set {entry.name} needs it below the folder that {DATA_ROOT} names ({os.environ[DATA_ROOT]}); "
            f"it comes from {entry.origin}"
        )
    return f"correct data.{role} (relative paths start at the study file's folder)"


def _from_files(spec: Mapping[str, Any], base: Path) -> Sources:
    if spec.get("kind") != "files":
        raise DataError(f"data.kind must be simulate, catalogue or files, got {spec.get('kind')!r}")
    if not spec.get("train"):
        raise DataError("data.train is missing: name the file with the trajectories")
    validation = spec.get("validation")
    given = {role: spec.get(role) for role in (*_ROLES, "ppi_genes")}
    given["validation"] = validation if isinstance(validation, (str, Path)) else None
    paths: dict[str, Any] = {role: _absolute(path, base) for role, path in given.items() if path}
    notes: tuple[str, ...] = ()
    hold_out: tuple[int, ...] | float | None = None
    if validation is None:
        hold_out = DEFAULT_FRACTION
        notes = (f"no validation data was named: a fraction of {DEFAULT_FRACTION:g} is held out of the training file",)
    elif isinstance(validation, (list, tuple)):
        hold_out = tuple(validation)
    elif isinstance(validation, (int, float)) and not isinstance(validation, bool):
        hold_out = float(validation)
    elif not isinstance(validation, (str, Path)):
        raise DataError(f"data.validation must be a file, trajectory indices or a fraction, got {validation!r}")
    said: dict[str, Any] = {key: spec.get(key) for key in ("prior_columns", "truth_columns", "prior_signed")}
    return Sources(name=paths["train"].name.split(".")[0], hold_out=hold_out, notes=notes, **said, **paths)


def _absolute(path: str | Path, base: Path) -> Path:
    return Path(base) / Path(path).expanduser()


def _from_catalogue(spec: Mapping[str, Any]) -> Sources:
    name = spec.get("name")
    if name not in CATALOGUE:
        raise DataError(f"data.name {name!r} is not in the catalogue; it has {', '.join(CATALOGUE)}")
    entry: CatalogueEntry = CATALOGUE[name]
    root = os.environ.get(DATA_ROOT)
    if not root:
        raise DataError(
            f"data set {name} needs published files: set the environment variable {DATA_ROOT} to the folder that "
            f"holds {entry.folder}/"
        )
    folder = Path(root).expanduser() / entry.folder
    noise = float(spec.get("prior_noise") or 0.0)
    if noise and not entry.files.get("prior"):
        raise DataError(f"data.prior_noise is {noise:g}, but no prior was published for {name}; set it to 0")
    files: dict[str, Any] = {role: folder / file for role, file in entry.files.items()}
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
