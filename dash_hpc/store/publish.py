"""The one place that writes files: to a temporary in the same folder, then fsync, rename, fsync of the folder.

A reader therefore sees the old file or the new one, never a mixture, and a writer that is killed leaves at most a
temporary (named ``.tmp-<pid>-<random>``) that blocks nobody. No existing path is ever opened for writing.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dash_hpc.errors import StoreError

__all__ = [
    "canonical_json",
    "is_temporary",
    "make_folder",
    "publish_bytes",
    "publish_json",
    "publish_text",
    "publishing",
    "set_aside",
    "sweep_temporaries",
]

_PREFIX = ".tmp-"
_LEFTOVER_SECONDS = 600.0
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE}


def canonical_json(value: Any) -> str:
    """Return ``value`` as JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def is_temporary(path: Path) -> bool:
    """Return whether ``path`` is an unfinished publication."""
    return path.name.startswith(_PREFIX)


def make_folder(path: Path | str) -> None:
    """Create ``path`` and its missing parents, and make their names durable.

    Raises
    ------
    StoreError
        When the folder cannot be made, with the path and the reason.
    """
    path = Path(path)
    missing = []
    folder = path
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    try:
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            _sync_folder(folder.parent)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a file of this name is in the way")
    except OSError as error:
        raise _refused(path, error) from error


@contextmanager
def publishing(path: Path | str) -> Iterator[Path]:
    """Yield the name of a temporary with the same suffix as ``path``; publish it as ``path`` on a clean exit.

    The body creates the file (and must close it). When the body raises, ``path`` stays what it was and the temporary
    is removed. An existing ``path`` is replaced as a whole.

    Raises
    ------
    StoreError
        When the disk is full, the folder is read-only or gone, and the like: path, reason and remedy.
    """
    path = Path(path)
    make_folder(path.parent)
    temporary = path.with_name(f"{_PREFIX}{os.getpid()}-{secrets.token_hex(8)}{path.suffix}")
    try:
        try:
            yield temporary
        except OSError as error:
            if error.errno in _DISK_ERRORS:
                raise _refused(path, error) from error
            raise
        try:
            _sync_file(temporary)
            _replace(temporary, path)
            _sync_folder(path.parent)
        except OSError as error:
            raise _refused(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def publish_bytes(path: Path | str, data: bytes) -> None:
    """Publish ``data`` as the whole content of ``path``; raises :class:`StoreError` like :func:`publishing`."""
    with publishing(path) as temporary, temporary.open("xb") as file:
        file.write(data)


def publish_text(path: Path | str, text: str) -> None:
    """Publish ``text`` (UTF-8, newlines as they are) as the whole content of ``path``."""
    publish_bytes(path, text.encode())


def publish_json(path: Path | str, value: Any) -> None:
    """Publish ``value`` as indented JSON with sorted keys."""
    publish_text(path, json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n")


def set_aside(path: Path | str) -> Path:
    """Rename a damaged or foreign file to ``<name>.damaged-<k>`` with the first free ``k``; nothing is deleted."""
    path = Path(path)
    k = 1
    while (target := path.with_name(f"{path.name}.damaged-{k}")).exists():
        k += 1
    try:
        path.rename(target)
        _sync_folder(path.parent)
    except OSError as error:
        raise _refused(path, error) from error
    return target


def sweep_temporaries(folder: Path | str) -> int:
    """Remove what killed writers left in ``folder``; return how many files.

    Only temporaries that nobody has touched for ten minutes go: a live publication takes seconds, and its writer may
    be on another machine, where its process cannot be looked up.
    """
    removed = 0
    limit = time.time() - _LEFTOVER_SECONDS
    for path in Path(folder).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if path.lstat().st_mtime < limit:
                path.unlink()
                removed += 1
    return removed


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(temporary: Path, path: Path) -> None:
    os.replace(temporary, path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(path: Path, error: OSError) -> StoreError:
    reason = error.strerror or str(error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        remedy = "make room and give the same command again; earlier files are intact"
    elif error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        remedy = "choose a folder that you may write to"
    else:
        remedy = "check the folder and give the same command again; earlier files are intact"
    return StoreError(f"cannot write {path}: {reason}; {remedy}")
