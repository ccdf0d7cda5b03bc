"""Kinds of data by name, and what is asked of whichever a spec names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dash_hpc.data.filesize import digest_of
from dash_hpc.data.kinds.base import DataKind
from dash_hpc.data.kinds.catalogue import CatalogueKind
from dash_hpc.data.kinds.files import FilesKind
from dash_hpc.data.kinds.simulated import SimulatedKind
from dash_hpc.data.readers import reader_of
from dash_hpc.errors import DataError

if TYPE_CHECKING:
    from dash_hpc.data.dataset import DataSet
    from dash_hpc.data.summary import DataSummary

__all__ = ["KINDS", "build", "digest", "foresee", "input_folders", "kind_of", "made_bytes"]

#: Every kind by the name that a study file uses.
KINDS: dict[str, DataKind] = {kind.name: kind for kind in (SimulatedKind(), CatalogueKind(), FilesKind())}


def kind_of(spec: Mapping[str, Any]) -> DataKind:
    """Return the kind that a data spec names; raises :class:`DataError` when there is none of that name."""
    kind = KINDS.get(str(spec.get("kind")))
    if kind is None:
        *others, last = KINDS
        raise DataError(f"data.kind must be {', '.join(others)} or {last}, got {spec.get('kind')!r}")
    return kind


def build(spec: Mapping[str, Any], *, seed: int, base: Path) -> DataSet:
    """Make the data set that a data spec describes.

    Parameters
    ----------
    spec : mapping
        ``kind`` with the keys of that kind, each one value, as in the ``[data]`` table of a run's spec.
    seed : int
        The run's seed. Only the expression noise depends on it: splits and prior corruption are the same for all
        runs of a study, so that runs can be compared.
    base : path
        The folder that relative paths start at.

    Raises
    ------
    DataError, PriorError
        Naming file, line and gene, or the environment variable that is not set.
    """
    return kind_of(spec).build(spec, seed=seed, base=Path(base))


def digest(spec: Mapping[str, Any], *, base: Path) -> str:
    """SHA-256 over the roles and bytes of all files that :func:`build` would read; ``""`` where it reads none.

    The place of the files does not enter, so a moved study keeps its run ids; one changed byte changes it.
    """
    files = kind_of(spec).files(spec, Path(base))
    if not files:
        return ""
    total = hashlib.sha256()
    for role, path in files.items():
        total.update(f"{role}:{digest_of(path, reader_of(path).max_bytes)}\n".encode())
    return total.hexdigest()


def input_folders(spec: Mapping[str, Any], base: Path) -> list[Path]:
    """Return the folders, absolute, that :func:`build` would read from; raises as it does where a file is missing."""
    return sorted({path.absolute().parent for path in kind_of(spec).files(spec, Path(base)).values()})


def foresee(spec: Mapping[str, Any]) -> DataSummary | None:
    """Return what the data will hold where the spec alone says it: nothing is read or made; None where it does not."""
    return kind_of(spec).foresee(spec)


def made_bytes(spec: Mapping[str, Any]) -> tuple[int, str] | None:
    """Return the bytes of expression that are made after the spec alone, and what they are; None where files decide."""
    return kind_of(spec).made_bytes(spec)
