"""``log/driver.log``: what the driver did, one dated line each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

__all__ = ["Journal"]


class Journal:
    """Appends dated lines to a file, and hands each to ``echo`` too.

    A log that cannot be written stops nothing: results matter more.
    """

    def __init__(self, path: Path, echo: Callable[[str], None] | None = None) -> None:
        self.path = path
        self.echo = echo

    def write(self, message: str, *, echo: bool = True) -> None:
        """Add one line."""
        line = f"{datetime.now().astimezone().isoformat(sep=' ', timespec='seconds')}  {message}"
        with suppress(OSError), self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        if echo and self.echo is not None:
            self.echo(line)
