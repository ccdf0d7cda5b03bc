"""What a lease file says, and whether the one who wrote it is dead."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "COUNTER",
    "FREE",
    "NAME",
    "NOTE_WIDTH",
    "WIDTH",
    "Held",
    "Holder",
    "Observer",
    "file_name",
    "link",
    "parse",
    "place",
    "read",
    "started",
]

COUNTER = "counter "
WIDTH = 20
NOTE_WIDTH = 40
FREE = "released".rjust(WIDTH)
_LONGEST = 4096
NAME = re.compile(r"(?P<name>[0-9a-z-]+)\.(?P<generation>[0-9]{6,})\.lease")


@dataclass(frozen=True)
class Holder:
    """Who holds a lease: host, process id, time of the process's start, place (boot and process table), token."""

    host: str
    pid: int
    started: str
    place: str
    token: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (since {self.since})"


@dataclass(frozen=True)
class Held:
    """A lease as an observer sees it: its file, generation, holder (None: not readable), counter, and the holder's
    note (what it is at).
    """

    path: Path
    generation: int
    holder: Holder | None
    counter: str
    note: str = ""

    @property
    def free(self) -> bool:
        """Whether the holder has given it back."""
        return self.counter == FREE

    def __str__(self) -> str:
        return str(self.holder) if self.holder is not None else f"an unknown process ({self.path.name})"


class Observer:
    """Watches leases and says which holders are dead.

    Parameters
    ----------
    seconds : float
        A counter that has not changed for so long, on this process's clock, belongs to a dead holder.
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._seen: dict[str, tuple[str, float]] = {}

    def dead(self, held: Held) -> bool:
        """Return whether the holder is dead, as far as has been observed up to now."""
        holder = held.holder
        if holder is not None and holder.place == place() and started(holder.pid) != holder.started:
            return True
        now = self._clock()
        key = f"{held.path}"
        mark = f"{holder.token if holder else ''} {held.counter}"
        seen = self._seen.get(key)
        if seen is None or seen[0] != mark:
            self._seen[key] = (mark, now)
            return False
        return now - seen[1] >= self.seconds

    def alive(self, held: Held) -> bool:
        """Return whether the holder is a living process of this machine."""
        holder = held.holder
        return holder is not None and holder.place == place() and started(holder.pid) == holder.started

    def moved(self, held: Held) -> bool:
        """Return whether the counter has changed since it was first seen: the holder lives. Call before dead()."""
        seen = self._seen.get(f"{held.path}")
        mark = f"{held.holder.token if held.holder else ''} {held.counter}"
        return seen is not None and seen[0] != mark


def file_name(name: str, generation: int) -> str:
    """Name the file of a generation."""
    return f"{name}.{generation:06d}.lease"


def link(temporary: Path, path: Path) -> bool:
    """Give the file its name unless the name is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        # NFS may repeat a request that succeeded; the number of names tells.
        return temporary.stat().st_nlink == 2
    except OSError:
        # No hard links here (some user-space file systems): let the system create the name exclusively.
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        except FileExistsError:
            return False
        os.replace(temporary, path)
    return True


def read(path: Path) -> str:
    """Read a lease file; a FIFO of that name, which nobody of ours has made, is empty and not waited for."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return file.read(_LONGEST).decode("utf-8", "replace")


def parse(path: Path, generation: int, text: str) -> Held:
    """Read the text of a lease file; what cannot be read is a holder of whom nothing is known."""
    counter, note, rest = [*text.split("\n", 2), "", ""][:3]
    holder = None
    with suppress(ValueError, TypeError):
        holder = Holder(**json.loads(rest))
    return Held(path, generation, holder, counter.removeprefix(COUNTER), note.strip())


def place() -> str:
    """Name this machine's boot and process table: equal only where process ids mean the same."""
    parts = []
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts) if len(parts) == 2 else f"{socket.gethostname()} {secrets.token_hex(8)}"


def started(pid: int) -> str:
    """Return when a process of this machine began, in its own ticks; "" when it is gone (or a zombie)."""
    try:
        # The name in parentheses may hold anything, so fields count from its end.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
