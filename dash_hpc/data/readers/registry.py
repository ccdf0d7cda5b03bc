"""Readers by the suffix of the files they read."""

from __future__ import annotations

from pathlib import Path

from dash_hpc.data.readers.base import Reader
from dash_hpc.data.readers.text import Text

__all__ = ["READERS", "reader_of"]

_ALL: tuple[Reader, ...] = (
    Text(),
)  # fmt: skip

#: Suffix -> reader.
READERS: dict[str, Reader] = {suffix: reader for reader in _ALL for suffix in reader.suffixes}


def reader_of(path: str | Path) -> Reader:
    """Return who reads a file, by the end of its name; a name with no known end is read as text."""
    name = Path(path).name.lower()
    fitting = [suffix for suffix in READERS if name.endswith(suffix)]
    return READERS[max(fitting, key=len)] if fitting else Text()
