"""The outer shape of every HDF5 file of a store: 512 bytes of text, then an HDF5 file.

The text names format and version and carries the size and the SHA-256 of everything (itself included), so that a
damaged, truncated or foreign file is recognised before the HDF5 library sees a byte of it. HDF5 calls such bytes a
user block: h5py, h5dump, R and Julia open the files directly.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from dash_hpc.errors import OtherVersion, StoreError
from dash_hpc.store.hdf5 import Group, open_image
from dash_hpc.store.reading import read_bytes

__all__ = [
    "HEADER_BYTES",
    "check_envelope",
    "open_envelope",
    "read_header",
    "read_whole",
    "seal",
    "to_bytes",
]

HEADER_BYTES = 512
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_LARGEST_FILE = 1 << 36
_PLACEHOLDER = "0" * 64


def to_bytes(form: str, version: int, fill: Callable[[h5py.File], None]) -> bytes:
    """Return the bytes of a file of format ``form``; ``fill`` writes its content into an HDF5 file in memory.

    Equal content gives equal bytes: no times of creation are kept.
    """
    # The name is never used, but HDF5 looks whether a file of that name exists.
    name = f".image-{secrets.token_hex(8)}"
    with h5py.File(name, "x", driver="core", backing_store=False, libver="earliest") as file:
        fill(file)
        file.flush()
        body = file.id.get_file_image()
    return seal(form, version, body) + body


def seal(form: str, version: int, body: bytes | memoryview, more: str = "", size: int = HEADER_BYTES) -> bytes:
    """Return the text in front of ``body``: ``size`` bytes with the checksum of both, then the lines ``more``."""

    def text(digest: str) -> bytes:
        lines = f"{form}\nversion {version}\nbytes {len(body)}\nsha256 {digest}\n{more}"
        # ASCII, unless the lines come from a damaged file: any byte must then find its way back
        return lines.encode("latin-1").ljust(size - 1) + b"\n"

    digest = hashlib.sha256(text(_PLACEHOLDER))
    digest.update(body)
    return text(digest.hexdigest())


def read_header(path: Path | str) -> tuple[str, int]:
    """Return format name and version from the first bytes of a file, without checking the rest.

    Raises
    ------
    StoreError
        When the file is missing, not a regular file, or not from dash-hpc.
    """
    return _identify(Path(path), read_bytes(path, 0, HEADER_BYTES))


@contextmanager
def open_envelope(path: Path | str, form: str, version: int, data: bytes | None = None) -> Iterator[Group]:
    """Check the file at ``path`` as a whole and yield its content, whose values are read from memory.

    What is read is exactly what was checked: a later replacement of the file has no effect on it. With ``data`` these
    are the bytes of the file, and ``path`` only names them.

    Raises
    ------
    StoreError
        Missing, foreign, of another format or version, truncated, or damaged; with path and remedy.
    """
    if data is None:
        data = read_whole(path)
    check_envelope(path, form, version, data)
    try:
        yield open_image(memoryview(data)[HEADER_BYTES:])
    except StoreError as error:
        raise StoreError(f"{path}: damaged: {error}; move it away and run the study again") from error


def check_envelope(path: Path | str, form: str, version: int, data: bytes) -> None:
    """Check format, version, length and checksum of the bytes of a file; raises StoreError as above.

    A whole file of another version raises its subclass :class:`OtherVersion`.
    """
    found, number = _identify(Path(path), data)
    if found != form:
        raise StoreError(f"{path}: this is a {found!r} file where a {form!r} file belongs; move it away")
    header, body = data[:HEADER_BYTES], memoryview(data)[HEADER_BYTES:]
    # A flipped bit in the number makes no other version: the lines above the padding mean the same in all versions.
    if number != version and header == seal(form, number, body):
        raise OtherVersion(
            f"{path}: format version {number}, but this dash-hpc reads version {version}; "
            f"use the dash-hpc that wrote it"
        )
    _check_length(path, header, len(body))
    if header != seal(form, version, body):
        raise StoreError(f"{path}: damaged, its checksum differs; move it away and run the study again")


def read_whole(path: Path | str) -> bytes:
    """Read a file of a store; what is foreign, cut short or too long is refused by its first bytes and its length."""
    header = read_bytes(path, 0, HEADER_BYTES)
    _identify(Path(path), header)
    _check_length(path, header, Path(path).lstat().st_size - HEADER_BYTES)
    return read_bytes(path, limit=_LARGEST_FILE)


def _check_length(path: Path | str, header: bytes, found: int) -> None:
    declared = _declared_bytes(header)
    if declared is not None and found < declared:
        raise StoreError(
            f"{path}: truncated, {found} of {declared} bytes are left; move it away and run the study again"
        )
    if declared is not None and found > declared:
        raise StoreError(
            f"{path}: damaged, {found} bytes where {declared} belong; move it away and run the study again"
        )


def _identify(path: Path, data: bytes) -> tuple[str, int]:
    lines = data[:HEADER_BYTES].split(b"\n", 3)
    name = lines[0]
    if name.startswith(b"dash-hpc ") and len(name) <= 40 and len(lines) > 2:
        number = lines[1].removeprefix(b"version ")
        if lines[1].startswith(b"version ") and number.isdigit() and len(number) < 10:
            return name.decode("ascii", "replace"), int(number)
        raise StoreError(f"{path}: damaged, its header cannot be read; move it away and run the study again")
    if data.startswith(_HDF5_MAGIC):
        raise StoreError(f"{path}: an HDF5 file, but not one of dash-hpc; move it out of the store")
    if not data:
        raise StoreError(f"{path}: the file is empty; move it away and run the study again")
    raise StoreError(f"{path}: not a file of dash-hpc (foreign or truncated); move it out of the store")


def _declared_bytes(header: bytes) -> int | None:
    lines = header.split(b"\n")
    number = lines[2].removeprefix(b"bytes ") if len(lines) > 2 else b""
    return int(number) if number.isdigit() and len(number) < 19 else None
