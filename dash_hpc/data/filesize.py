"""How large a data file may be: known from the file system, or by passing over it, before it is held in memory."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from dash_hpc.errors import DataError
from dash_hpc.files import NotRegular, open_regular

__all__ = ["MAX_CELLS", "MAX_FILE_BYTES", "MAX_LINE_BYTES", "decompressed", "digest_of", "read_within", "refuse_wide"]

MAX_FILE_BYTES = 1 << 30
"""Of a file, and of what a compressed file holds."""
MAX_LINE_BYTES = 4 << 20
"""Of one line."""
MAX_CELLS = 50_000
"""In one line."""

_PIECE = 4 << 20
_HELD = 128 << 20  # so much is kept while the size is not yet known


def read_within(path: str | Path, error: type[DataError] = DataError) -> bytes:
    """Return the bytes of a file as they lie on disk.

    Raises
    ------
    error
        The file is missing, a folder, a device or pipe, unreadable, too large, or has a line that is too long.
    """
    with _opened(path, error) as file:
        size = os.fstat(file.fileno()).st_size
        _refuse_large(size, path, error)
        packed = file.peek(2)[:2] == b"\x1f\x8b"
        if size > MAX_LINE_BYTES and not packed:
            _pass_over(file, path, error)
            file.seek(0)
        data = file.read(size)
        # It may have grown, and files of /proc say that they have no size.
        while more := file.read(_PIECE):
            data += more
            _refuse_large(len(data), path, error)
        return data


def digest_of(path: str | Path, max_bytes: int | None = None) -> str:
    """Return the SHA-256 of a file; of text without ``max_bytes``, of any other file of at most so many bytes.

    Raises
    ------
    DataError
        As :func:`read_within` does; a file that is not text has no lines.
    """
    if max_bytes is None:
        return hashlib.sha256(read_within(path)).hexdigest()
    total, size = hashlib.sha256(), 0
    with _opened(path, DataError) as file:
        while piece := file.read(_PIECE):
            total.update(piece)
            size += len(piece)
            if max(size, os.fstat(file.fileno()).st_size) > max_bytes:
                raise DataError(f"{path}: more than {max_bytes:,} bytes, which is more than is read of such files")
    return total.hexdigest()


@contextmanager
def _opened(path: str | Path, error: type[DataError]) -> Iterator[BufferedReader]:
    """Open a regular file; tell in one line of ``error`` what is wrong with it."""
    try:
        with open_regular(path, links=True) as file:
            yield file
    except NotRegular as found:
        remedy = "" if str(found) == "a folder" else "; write the data to a file"
        raise error(f"{path}: is {found}, not a file{remedy}") from None
    except FileNotFoundError:
        raise error(f"{path}: file not found") from None
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason.strerror or reason})") from None
    except ValueError as reason:  # a name that no file can have
        raise error(f"{path}: file not found ({reason})") from None


def decompressed(data: bytes, path: str | Path, error: type[DataError] = DataError) -> bytes:
    """Return what gzip data hold; a small file may hold more than any memory.

    Raises
    ------
    error
        The data are damaged or cut short, or hold more than a data file may.
    """
    try:
        with gzip.open(io.BytesIO(data)) as file:
            held = _pass_over(file, path, error)  # type: ignore[arg-type]
            if held is not None:
                return held
            file.seek(0)
            return file.read()
    except (OSError, EOFError, zlib.error) as reason:
        raise error(f"{path}: the gzip file is damaged or cut short ({reason})") from None


def refuse_wide(cells: NDArray[np.int64], path: str | Path, error: type[DataError] = DataError) -> None:
    """Raise ``error`` for the first line with more cells than a table may have; ``cells`` has one number per line."""
    if cells.size and int(cells.max()) > MAX_CELLS:
        number = int(np.argmax(cells > MAX_CELLS))
        raise error(f"{path}:{number + 1}: {int(cells[number]):,} cells; at most {MAX_CELLS:,} are read in a line")


def _pass_over(file: BinaryIO, path: str | Path, error: type[DataError]) -> bytes | None:
    """Read to the end and check sizes; returns all of it when that is little."""
    held: list[bytes] | None = []
    size = unbroken = 0
    while piece := file.read(_PIECE):
        size += len(piece)
        _refuse_large(size, path, error)
        first, last = _breaks(piece)
        if unbroken + (len(piece) if first < 0 else first) > MAX_LINE_BYTES:
            raise error(
                f"{path}: a line of more than {MAX_LINE_BYTES >> 20} MiB, longer than any table has; is it text (CSV)?"
            )
        unbroken = unbroken + len(piece) if first < 0 else len(piece) - last - 1
        if held is not None:
            held.append(piece)
            held = held if size <= _HELD else None
    return b"".join(held) if held is not None else None


def _breaks(piece: bytes) -> tuple[int, int]:
    """Where the first and the last line break are; -1 without one."""
    first = [place for place in (piece.find(b"\n"), piece.find(b"\r")) if place >= 0]
    return min(first, default=-1), max(piece.rfind(b"\n"), piece.rfind(b"\r"))


def _refuse_large(size: int, path: str | Path, error: type[DataError]) -> None:
    if size > MAX_FILE_BYTES:
        raise error(
            f"{path}: more than {MAX_FILE_BYTES >> 30} GiB of data; fewer digits make an expression file smaller, and "
            "a list of edges is smaller than a matrix"
        )
