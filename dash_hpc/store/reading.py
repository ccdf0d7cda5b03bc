"""Opening files of a store, which may come from anybody: only regular files, only so many bytes, without waiting.

A pipe, a device, a socket, a folder or a symbolic link in the place of a file is refused before it is opened: opening
alone may wait, rewind a tape, or lead out of the folder.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from dash_hpc.errors import StoreError
from dash_hpc.store.files import in_bytes

__all__ = ["open_regular", "read_bytes", "read_tail"]

_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: Path | str) -> BinaryIO:
    """Open a regular file for reading; anything else of that name raises StoreError, without being opened.

    Raises
    ------
    StoreError
        Not a regular file; says what it is.
    OSError
        Missing or unreadable.
    """
    _require_regular(path, os.lstat(path))
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
    try:
        file = open(os.open(path, flags), "rb")  # noqa: SIM115 - the caller closes it
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StoreError(f"{path}: a symbolic link, not a regular file; put the file itself here") from error
        raise
    try:
        # It may have been replaced in between.
        _require_regular(path, os.fstat(file.fileno()))
    except StoreError:
        file.close()
        raise
    return file


def read_bytes(path: Path | str, offset: int = 0, size: int = -1, *, limit: int | None = None) -> bytes:
    """Read a regular file, or ``size`` bytes from ``offset``.

    Raises
    ------
    StoreError
        Missing, not a regular file, unreadable, or larger than ``limit``.
    """
    try:
        with open_regular(path) as file:
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
        with open_regular(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read(size).decode("utf-8", "replace")
    except (OSError, StoreError):
        return ""


def _require_regular(path: Path | str, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    what = next((word for test, word in _KINDS if test(status.st_mode)), "something else")
    remedy = "put the file itself here" if stat.S_ISLNK(status.st_mode) else "move it out of the store"
    raise StoreError(f"{path}: {what}, not a regular file; {remedy}")
