"""``log/driver.log``: what the driver did, one dated line each."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from dash_hpc.shown import shown

__all__ = ["Journal", "open_log"]


def open_log(path: Path) -> BinaryIO:
    """Open a log to append to. A FIFO of that name does not block, a symbolic link out is not followed: OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    return open(os.open(path, flags, 0o666), "ab")


class Journal:
    """Appends dated lines to a file, and hands each to ``echo`` too.

    A log that cannot be written stops nothing: results matter more.
    """

    def __init__(self, path: Path, echo: Callable[[str], None] | None = None) -> None:
        self.path = path
        self.echo = echo

    def write(self, message: str, *, echo: bool = True) -> None:
        """Add one line; a path with a newline in it makes no second one."""
        line = f"{datetime.now().astimezone().isoformat(sep=' ', timespec='seconds')}  {shown(message)}"
        with suppress(OSError), open_log(self.path) as file:
            file.write(f"{line}\n".encode())
        if echo and self.echo is not None:
            self.echo(line)
