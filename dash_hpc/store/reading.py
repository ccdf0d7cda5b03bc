"""Opening files of a store, which may come from anybody: only regular files, only so many bytes, without waiting.

A symbolic link in the place of a file is refused as well: it may lead out of the folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from dash_hpc.errors import StoreError
from dash_hpc.files import NotRegular, open_regular
from dash_hpc.store.files import in_bytes

__all__ = ["open_file", "read_bytes", "read_tail"]


def open_file(path: Path | str) -> BinaryIO:
    """Open a regular file of a store for reading; anything else of that name raises StoreError, without being opened.

    Raises
    ------
    StoreError
        Not a regular file; says what it is.
    OSError
        Missing or unreadable.
    """
    try:
        return open_regular(path, links=False)
    except NotRegular as found:
        remedy = "put the file itself here" if str(found) == "a symbolic link" else "move it out of the store"
        raise StoreError(f"{path}: {found}, not a regular file; {remedy}") from None


def read_bytes(path: Path | str, offset: int = 0, size: int = -1, *, limit: int | None = None) -> bytes:
    """Read a regular file, or ``size`` bytes from ``offset``.

    Raises
    ------
    StoreError
        Missing, not a regular file, unreadable, or larger than ``limit``.
    """
    try:
        with open_file(path) as file:
            length = os.fstat(file.fileno()).st_size
            if limit is not None and length > limit:
                raise StoreError(
                    f"{path}: has {in_bytes(length)}, and no such file has more than {in_bytes(limit)}; "
                    "move it out of the store"
                )
            if offset:
                file.seek(offset)
            return file.read(size if size >= 0 else length)
    except FileNotFoundError as error:
        raise StoreError(f"{path}: no such file; check the folder and the run id") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def read_tail(path: Path | str, size: int) -> str:
    """Return the last ``size`` bytes of a log as text; "" when there is none to read."""
    try:
        with open_file(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read(size).decode("utf-8", "replace")
    except (OSError, StoreError):
        return ""
