"""The one place that writes files: to a temporary in the same folder, then fsync, rename, fsync of the folder.

A reader therefore sees the old file or the new one, never a mixture, and a writer that is killed leaves at most a
temporary (named ``.tmp-<pid>-<random>``) that blocks nobody. No existing path is ever opened for writing. All of it
goes through ``layer``, which tests replace.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dash_hpc.errors import StoreError
from dash_hpc.names import as_utf8, json_text
from dash_hpc.store.files import FileLayer, free_space, in_bytes

__all__ = [
    "canonical_json",
    "is_temporary",
    "layer",
    "make_folder",
    "note_seal",
    "publish_bytes",
    "publish_json",
    "publish_note",
    "publish_sealed_text",
    "publish_text",
    "publishing",
    "refused",
    "remove_file",
    "remove_folder",
    "seal_of_text",
    "set_aside",
    "sweep_temporaries",
]

layer: FileLayer = FileLayer()

_PREFIX = ".tmp-"
_SEAL = "# sha256 of the lines above: "
_LEFTOVER_SECONDS = 600.0
_PIECE_BYTES = 1 << 22
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ENODEV, errno.ENOTCONN}
_DISK_ERRORS = _FULL | _FORBIDDEN | _GONE | {errno.EIO, errno.EFBIG}


def canonical_json(value: Any) -> str:
    """Return ``value`` as JSON with sorted keys and no spaces: equal values give equal text."""
    return json_text(value, sort_keys=True, separators=(",", ":"))


def is_temporary(path: Path) -> bool:
    """Return whether ``path`` is an unfinished publication."""
    return path.name.startswith(_PREFIX)


def make_folder(path: Path | str, *, root: Path | None = None) -> None:
    """Create ``path`` and its missing parents, and make their names durable.

    With ``root`` only folders below it are made: a root that vanished (unmounted, removed) is not made anew.

    Raises
    ------
    StoreError
        When the folder cannot be made, with the path and the reason.
    """
    path = Path(path)
    if root is not None and not root.is_dir():
        error = FileNotFoundError(errno.ENOENT, f"{root} is gone")
        raise refused(path, error) from error
    missing = []
    folder = path
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    try:
        for folder in reversed(missing):
            layer.make_folder(folder)
            layer.sync_folder(folder.parent)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a file of this name is in the way")
    except OSError as error:
        raise refused(path, error) from error


@contextmanager
def publishing(path: Path | str) -> Iterator[Path]:
    """Yield the name of a temporary with the same suffix as ``path``; publish it as ``path`` on a clean exit.

    The body creates the file (and must close it). When the body raises, ``path`` stays what it was and the temporary
    is removed. An existing ``path`` is replaced as a whole.

    Raises
    ------
    StoreError
        When the disk is full, the folder is read-only or gone, and the like: path, reason, need and remedy.
    """
    path = Path(path)
    make_folder(path.parent)
    with _temporary(path) as temporary:
        yield temporary
        layer.sync_file(temporary)
        layer.rename(temporary, path)
        layer.sync_folder(path.parent)


def publish_bytes(
    path: Path | str, data: bytes, *, make_parents: bool = True, guard: Callable[[], None] | None = None
) -> None:
    """Publish ``data`` as the whole content of ``path``; raises :class:`StoreError` like :func:`publishing`.

    With ``make_parents=False`` the folder must be there: what vanished (unmounted, removed) is not made anew.
    ``guard`` is called when all is written and synced, right before the rename; when it raises, ``path`` stays.
    """
    path = Path(path)
    if make_parents:
        make_folder(path.parent)
    with _temporary(path, len(data)) as temporary:
        try:
            descriptor = layer.open(temporary)
        except FileNotFoundError:
            # The folder was empty a moment ago and somebody who compacts has removed it.
            if not make_parents:
                raise
            make_folder(path.parent)
            descriptor = layer.open(temporary)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[layer.write(descriptor, rest[:_PIECE_BYTES]) :]
            layer.sync(descriptor)
        finally:
            layer.close(descriptor)
        if guard is not None:
            guard()
        layer.rename(temporary, path)
        layer.sync_folder(path.parent)


@contextmanager
def _temporary(path: Path, need: int | None = None) -> Iterator[Path]:
    """Yield a new name beside ``path`` and remove what is left of it; turn refusals of the disk into StoreError."""
    temporary = path.with_name(f"{_PREFIX}{os.getpid()}-{secrets.token_hex(8)}{path.suffix}")
    places = {temporary, path, path.parent}
    try:
        yield temporary
    except OSError as error:
        # The body of ``publishing`` may read other files; what goes wrong there is not about this one.
        named = error.filename is not None
        if Path(os.fsdecode(error.filename)) not in places if named else error.errno not in _DISK_ERRORS:
            raise
        raise refused(path, error, need) from error
    finally:
        with suppress(OSError):
            layer.remove(temporary)


def publish_text(path: Path | str, text: str) -> None:
    """Publish ``text`` (UTF-8, newlines as they are) as the whole content of ``path``.

    A byte of a name that is not UTF-8 is shown as an escape; see :mod:`dash_hpc.names`.
    """
    publish_bytes(path, as_utf8(text).encode())


def publish_sealed_text(path: Path | str, text: str) -> None:
    """Publish ``text``, followed by a comment line with its SHA-256; for formats in which ``#`` begins a comment.

    The folder must be there.
    """
    text = text if text.endswith("\n") else text + "\n"
    data = f"{text}{_SEAL}{hashlib.sha256(text.encode()).hexdigest()}\n".encode()
    publish_bytes(path, data, make_parents=False)


def seal_of_text(data: bytes) -> bool | None:
    """Return whether ``data`` is what :func:`publish_sealed_text` wrote; None when it bears no seal."""
    text, found, digest = data.rpartition(_SEAL.encode())
    if not found:
        return None
    return digest == hashlib.sha256(text).hexdigest().encode() + b"\n"


def publish_json(path: Path | str, value: Any) -> None:
    """Publish ``value`` as indented JSON with sorted keys."""
    publish_text(path, json_text(value, sort_keys=True, indent=2) + "\n")


def note_seal(value: Mapping[str, Any]) -> str:
    """Return the SHA-256 that a small JSON file bears under ``sha256``: of the canonical text of its other keys."""
    rest = {key: item for key, item in value.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def publish_note(path: Path | str, value: Mapping[str, Any]) -> None:
    """Publish a small JSON object that is kept beside the results, with its checksum; ``read_note`` reads it."""
    publish_json(path, {**value, "sha256": note_seal(value)})


def set_aside(path: Path | str) -> Path:
    """Rename a damaged or foreign file to ``<name>.damaged-<k>`` with the first free ``k``; nothing is deleted."""
    path = Path(path)
    k = 1
    while (target := path.with_name(f"{path.name}.damaged-{k}")).exists():
        k += 1
    try:
        layer.rename(path, target)
        layer.sync_folder(path.parent)
    except OSError as error:
        raise refused(path, error) from error
    return target


def remove_file(path: Path | str) -> None:
    """Remove one file; none of that name is fine. Raises :class:`StoreError` when it cannot be removed."""
    try:
        layer.remove(Path(path))
    except OSError as error:
        raise refused(Path(path), error, doing="remove") from error


def remove_folder(path: Path | str) -> bool:
    """Remove a folder if it is empty; return whether it is gone."""
    try:
        layer.remove_folder(Path(path))
    except OSError:
        return not Path(path).exists()
    return True


def sweep_temporaries(folder: Path | str) -> int:
    """Remove what killed writers left in ``folder``; return how many files.

    Only temporaries that nobody has touched for ten minutes go: a live publication takes seconds, and its writer may
    be on another machine, where its process cannot be looked up. The minutes are those of the file system, whose clock
    need not agree with this machine's.
    """
    removed = 0
    left = list(Path(folder).glob(f"{_PREFIX}*"))
    limit = _time_there(Path(folder)) - _LEFTOVER_SECONDS if left else 0.0
    for path in left:
        with suppress(OSError):
            if path.lstat().st_mtime < limit:
                layer.remove(path)
                removed += 1
    return removed


def _time_there(folder: Path) -> float:
    """Return what time it is for the file system of ``folder``, from the stamp of a new file; 0 when that fails."""
    path = folder / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
    try:
        layer.close(layer.open(path))
        return path.lstat().st_mtime
    except OSError:
        return 0.0
    finally:
        with suppress(OSError):
            layer.remove(path)


def refused(path: Path, error: OSError, need: int | None = None, doing: str = "write") -> StoreError:
    """Return the error that says in one line which file the disk refused, why, what was needed, and what to do."""
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        sizes = [] if need is None else [f"{in_bytes(need)} needed"]
        if (free := free_space(path.parent)) is not None:
            sizes.append(f"{in_bytes(free.bytes)} free there")
            if free.files == 0:
                sizes.append("no more files allowed")
        reason += f" ({', '.join(sizes)})" if sizes else ""
        remedy = "make room and give the same command again; earlier files are intact"
    elif error.errno in _FORBIDDEN:
        remedy = "choose a folder that you may write to; earlier files are intact"
    elif error.errno in _GONE:
        remedy = "bring the folder back (is it mounted?) and give the same command again"
    else:
        remedy = "check the folder and give the same command again; earlier files are intact"
    return StoreError(f"cannot {doing} {path}: {reason}; {remedy}")
