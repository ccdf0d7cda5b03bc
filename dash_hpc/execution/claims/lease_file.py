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
from dataclasses import asdict, dataclass
from pathlib import Path

from dash_hpc.errors import StoreError
from dash_hpc.store.notes import parse_json, record, text, unsealed, whole
from dash_hpc.store.publish import note_seal
from dash_hpc.store.reading import open_file

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
    "lease_text",
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
_LEASE = re.compile(rb"counter ([ 0-9a-z]{20})\n([^\n]{0,40})\n(.*)", re.DOTALL)
_word = text(300)
_HOLDER = record({"pid": whole(1, 1 << 31), **dict.fromkeys(("host", "started", "place", "token", "since"), _word)})
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
    note (what it is at). What is ``foreign`` bears the name of a lease, and nobody of ours can have made it.
    """

    path: Path
    generation: int
    holder: Holder | None
    counter: str
    note: str = ""
    foreign: bool = False

    @property
    def free(self) -> bool:
        """Whether nobody holds it: its holder has given it back, or it is no lease."""
        return self.counter == FREE or self.foreign

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


def read(path: Path) -> bytes | None:
    """Read a lease file; None when it is no regular file, which is not waited for. OSError as of ``open``."""
    try:
        with open_file(path) as file:
            return file.read(_LONGEST)
    except StoreError:
        return None


def parse(path: Path, generation: int, data: bytes | None) -> Held:
    """Return what a lease file says.

    One that has a counter and no readable holder is somebody's of whom nothing is known. An empty one is being made,
    where a file system has no links. Anything else is no lease.
    """
    if data == b"":
        return Held(path, generation, None, "")
    match = _LEASE.fullmatch(data or b"")
    if match is None:
        return Held(path, generation, None, "", foreign=True)
    holder = None
    with suppress(StoreError):
        holder = Holder(**unsealed(parse_json(match[3]), _HOLDER))
    note = match[2].decode("ascii", "replace").strip()
    return Held(path, generation, holder, match[1].decode("ascii", "replace"), note)


def lease_text(holder: Holder) -> str:
    """Return the text of a new lease: counter, note, holder; the first two are changed in place later."""
    facts = asdict(holder)
    return f"{COUNTER}{0:{WIDTH}d}\n{'':{NOTE_WIDTH}}\n{json.dumps({**facts, 'sha256': note_seal(facts)})}\n"


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
