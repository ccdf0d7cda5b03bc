"""Who may write: one lease per run and one per driver, without file locks.

A lease is a small text file ``<name>.<generation>.lease`` that appears by an exclusive ``link``, so it is whole and
exactly one of several contenders gets a generation. The holder of the highest generation is the holder; to take over
means to create the next one. While the holder lives, a thread changes the counter in its file, in place and through
the descriptor that made it: it can never touch the file of a successor. Whoever waits judges by *its own* monotonic
clock how long the counter has stood still, so clocks need not agree. A holder on the same machine (same boot, same
process table) whose process is gone is dead at once.

Leases coordinate, they record nothing, and so they alone do not go through ``store.publish``.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import threading
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

from dash_hpc.environment import seconds
from dash_hpc.errors import DashHpcError, StoreError, UsageError
from dash_hpc.execution.claims.lease_file import (
    COUNTER,
    FREE,
    NAME,
    NOTE_WIDTH,
    WIDTH,
    Held,
    Holder,
    Observer,
    file_name,
    lease_text,
    link,
    parse,
    place,
    read,
    started,
)
from dash_hpc.store.publish import refused, set_aside

__all__ = ["LEASE_FOLDER", "LEASE_SECONDS", "Held", "Holder", "Lease", "LeaseLost", "Observer", "lease_seconds"]

LEASE_FOLDER = "lease"
LEASE_SECONDS = 60.0
#: Beats per lease time: five may be lost.
_BEATS = 6


class LeaseLost(DashHpcError):
    """Another process has taken over; nothing more may be written. The run goes on there."""

    exit_code = 3


class Lease:
    """One named lease in the store ``folder``.

    Parameters
    ----------
    folder : path
        The store.
    name : str
        Lower-case letters, digits and dashes; a run's id, or "driver".
    seconds : float, optional
        How long a silent holder keeps it; all who use a folder should agree. Default: :func:`lease_seconds`.
    observer : Observer, optional
        Kept by the caller between tries, since observation takes time.

    Attributes
    ----------
    taken_from : Holder or None
        The dead holder from whom it was taken over.
    problems : list of str
        One line for each file that was in the way, was no lease, and has another name now.
    """

    def __init__(
        self, folder: Path | str, name: str, *, seconds: float | None = None, observer: Observer | None = None
    ) -> None:
        self.name = name
        self.seconds = lease_seconds() if seconds is None else seconds
        self.observer = observer or Observer(self.seconds)
        root = Path(folder) / LEASE_FOLDER
        # Many runs: few files per folder keep the check for a successor cheap.
        self._folder = root / name[:2] if re.fullmatch(r"[0-9a-f]{16}", name) else root
        if not re.fullmatch(r"[0-9a-z-]+", name):
            raise UsageError(f"lease name {name!r}: lower-case letters, digits and dashes only")
        self.taken_from: Holder | None = None
        self.problems: list[str] = []
        self._descriptor: int | None = None
        self._path: Path | None = None
        self._generation = 0
        self._counter = 0
        self._lost = ""
        self._guard = threading.Lock()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def look(self) -> Held | None:
        """Return the present holder's lease, None when there is none. A lease that was given back is ``free``."""
        while True:
            generations = self._generations()
            if not generations:
                return None
            generation = max(generations)
            path = self._folder / file_name(self.name, generation)
            try:
                data = read(path)
            except FileNotFoundError:
                continue  # its holder has just removed it, or a successor has
            except OSError as error:
                raise refused(path, error) from error
            return parse(path, generation, data)

    def acquire(self) -> Held | None:
        """Try once. Returns None when the lease is held now by this object, else the lease that is in the way.

        Raises
        ------
        StoreError
            When the folder cannot be written.
        """
        held = self.look()
        if held is not None and not held.free and not self.observer.dead(held):
            return held
        generation = held.generation + 1 if held is not None else 1
        if not self._create(generation):
            return self._in_the_way()
        generations = self._generations()
        # A listing that others change under way may miss their files: look until nothing changes.
        while generations != (again := self._generations()):
            generations = again
        if max(generations, default=0) != generation:
            self._abandon()
            return self._in_the_way()
        for number in generations:
            if number < generation:
                self._clear(self._folder / file_name(self.name, number), held)
        self.taken_from = held.holder if held is not None and not held.free else None
        self._lost = ""
        self._done.clear()
        self._thread = threading.Thread(target=self._beat, name=f"lease {self.name}", daemon=True)
        self._thread.start()
        return None

    def check(self) -> None:
        """Raise LeaseLost unless this object still holds the lease. To be called before each write."""
        with self._guard:
            if not self._lost:
                self._lost = self._look_for_loss()
            if self._lost:
                raise LeaseLost(self._lost)

    def note(self, text: str) -> None:
        """Leave word of what is being done (at most 40 ASCII characters), for whoever finds this process dead."""
        line = text.encode("ascii", "replace")[:NOTE_WIDTH].ljust(NOTE_WIDTH)
        with self._guard, suppress(OSError):
            if self._descriptor is not None:
                os.pwrite(self._descriptor, line, len(COUNTER) + WIDTH + 1)

    @property
    def held(self) -> bool:
        """Whether this object holds the lease as far as it knows."""
        return self._descriptor is not None and not self._lost

    def release(self, *, remove: bool = False) -> None:
        """Give the lease back; a lost one is left to its new holder.

        ``remove`` takes its file away, after which generations count from 1 again and two who come at that very
        moment may both get a lease: only for a run that is done, which they find out from its record.
        """
        self._done.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
            self._thread = None
        with self._guard:
            if self._descriptor is None:
                return
            with suppress(OSError, StoreError):
                # Through the descriptor, so that it is this object's own file, wherever that is by now.
                self._write_counter(FREE)
                if remove and self._path is not None and not self._lost and not self._look_for_loss():
                    self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _in_the_way(self) -> Held:
        held = self.look()
        if held is not None:
            return held
        # Somebody came first and has left already; the caller tries again as with any other holder.
        return Held(self._folder / file_name(self.name, 0), 0, None, "")

    def _generations(self) -> list[int]:
        prefix = f"{self.name}."
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise refused(self._folder, error) from error
        found = []
        for name in names:
            if name.startswith(prefix) and (match := NAME.fullmatch(name)) and match["name"] == self.name:
                found.append(int(match["generation"]))
        return sorted(found)

    def _create(self, generation: int) -> bool:
        """Make the file of a generation, whole or not at all; False when somebody else has it."""
        holder = Holder(
            host=socket.gethostname(),
            pid=os.getpid(),
            started=started(os.getpid()),
            place=place(),
            token=secrets.token_hex(8),
            since=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        text = lease_text(holder)
        path = self._folder / file_name(self.name, generation)
        temporary = self._folder / f".tmp-{os.getpid()}-{secrets.token_hex(8)}.lease"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise refused(path, error) from error
        try:
            os.write(descriptor, text.encode())
            os.fsync(descriptor)
            mine = link(temporary, path)
        except OSError as error:
            os.close(descriptor)
            raise refused(path, error) from error
        finally:
            with suppress(OSError):
                temporary.unlink()
        if not mine:
            os.close(descriptor)
            return False
        self._descriptor, self._path, self._generation, self._counter = descriptor, path, generation, 0
        return True

    def _clear(self, path: Path, held: Held | None) -> None:
        """Remove a lease of the past; what is no lease, and not ours to remove, is renamed."""
        with suppress(OSError, StoreError):
            if path.is_file() and not path.is_symlink() and not (held is not None and held.foreign):
                path.unlink()
            elif path.is_symlink() or path.exists():
                renamed = set_aside(path)
                self.problems.append(f"{path}: not a lease, though it is called like one; it is now {renamed.name}")

    def _abandon(self) -> None:
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def _look_for_loss(self) -> str:
        """Return why the lease is lost, "" while it is held. Listing the folder is what network caches cannot fake."""
        if self._descriptor is None:
            return f"lease {self.name} is not held"
        generations = self._generations()
        if not generations and not self._folder.is_dir():
            raise StoreError(f"{self._folder}: the folder has vanished; bring it back and give the same command again")
        if self._generation in generations and max(generations) == self._generation:
            return ""
        successor = self.look()
        who = f" {successor}" if successor is not None else " somebody who removed it"
        return f"lease {self.name} was taken over by{who}, because this process was silent for {self.seconds:g} s"

    def _beat(self) -> None:
        while not self._done.wait(self.seconds / _BEATS):
            with self._guard:
                try:
                    if not self._lost:
                        self._lost = self._look_for_loss()
                    if self._lost:
                        return
                    self._counter += 1
                    self._write_counter(f"{self._counter:{WIDTH}d}")
                except (OSError, StoreError):
                    continue  # A disk that is full or gone for a while: others see silence, and check() tells.

    def _write_counter(self, text: str) -> None:
        if self._descriptor is not None:
            os.pwrite(self._descriptor, text.encode(), len(COUNTER))
            os.fsync(self._descriptor)


def lease_seconds() -> float:
    """Return how long a silent holder keeps a lease: DASH_HPC_LEASE_SECONDS, or 60.

    Raises
    ------
    UsageError
        When the variable is not a positive number.
    """
    return seconds("DASH_HPC_LEASE_SECONDS", LEASE_SECONDS)
