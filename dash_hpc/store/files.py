"""Every call of the store that changes a file system, one method each.

``publish.py`` reaches the disk through one :class:`FileLayer`, so that tests can put one in its place that fails at
the n-th call, dies there, or forgets what was not synced. Nothing is buffered in the process: there is no flush, and
:meth:`FileLayer.close` is where a network file system reports what it could not write.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FileLayer", "FreeSpace", "free_space", "in_bytes"]

# Some network and user-space file systems cannot sync a folder; their renames are as durable as they get.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP}


class FileLayer:
    """The operating system's calls. Each raises OSError and does nothing else."""

    def make_folder(self, path: Path) -> None:
        """Create one folder; an existing one is fine."""
        path.mkdir(exist_ok=True)

    def open(self, path: Path) -> int:
        """Create a file that does not exist yet and return its descriptor, for writing."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write the beginning of ``data`` and return how many bytes that was."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Return when everything that was written is on the disk."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close; a network file system may report a failed write only here."""
        os.close(descriptor)

    def sync_file(self, path: Path) -> None:
        """Like :meth:`sync` for a file that somebody else wrote and closed."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name in the same folder; a file of that name is replaced."""
        os.replace(old, new)

    def sync_folder(self, path: Path) -> None:
        """Return when the names in a folder are on the disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                raise
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Remove one file; none of that name is fine."""
        path.unlink(missing_ok=True)

    def remove_folder(self, path: Path) -> None:
        """Remove one empty folder."""
        path.rmdir()


@dataclass(frozen=True)
class FreeSpace:
    """What an ordinary user may still write: bytes and, where the file system counts them, files (else None)."""

    bytes: int
    files: int | None


def free_space(path: Path | str) -> FreeSpace | None:
    """Return the free space where ``path`` is, or will be; None when no parent of it can be asked."""
    for place in (Path(path), *Path(path).absolute().parents):
        try:
            status = os.statvfs(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return None
        return FreeSpace(status.f_bavail * status.f_frsize, status.f_favail if status.f_files else None)
    return None


def in_bytes(size: float) -> str:
    """Return ``size`` for people: "512 B", "1.5 kB", "2.0 GB" (powers of 1000)."""
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if size < 999.95 or unit == "TB":
            return f"{size:.1f} {unit}"
    return ""
