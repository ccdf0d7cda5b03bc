"""Opening files that may come from anybody: only regular ones, without waiting.

A pipe, a device, a socket or a folder in the place of a file is refused before it is opened: opening alone may wait for
ever or rewind a tape. What the file may be called and how large it may be is for those who read it to say.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader

__all__ = ["NotRegular", "open_regular"]

_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotRegular(Exception):
    """What has the name is no regular file; the message says what it is: "a folder", "a pipe" …"""


def open_regular(path: str | os.PathLike[str], *, links: bool) -> BufferedReader:
    """Open a regular file for reading.

    Parameters
    ----------
    path : path
    links : bool
        Whether ``path`` itself may be a symbolic link to one.

    Raises
    ------
    NotRegular
        When it is anything else; it has not been opened then.
    OSError
        Missing or unreadable.
    ValueError
        A name that no file can have.
    """
    _require_regular(os.stat(path, follow_symlinks=links))
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW)
    try:
        file = open(os.open(path, flags), "rb")  # noqa: SIM115 - the caller closes it
    except OSError as error:
        if error.errno == errno.ELOOP and not links:
            raise NotRegular("a symbolic link") from error
        raise
    try:
        # It may have been replaced in between.
        _require_regular(os.fstat(file.fileno()))
    except NotRegular:
        file.close()
        raise
    return file


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotRegular(next((word for test, word in _KINDS if test(status.st_mode)), "something else"))
