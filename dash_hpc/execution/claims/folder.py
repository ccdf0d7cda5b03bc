"""One driver per output folder, and a fresh start that deletes nothing."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dash_hpc.errors import Interrupted, UsageError
from dash_hpc.execution.claims.lease import Lease
from dash_hpc.execution.machine.signals import StopFlag
from dash_hpc.execution.machine.streams import say
from dash_hpc.shown import shown
from dash_hpc.store import is_store, make_folder

__all__ = ["begin_anew", "held_by_driver"]

_LOOK_SECONDS = 0.2
_RETRY_SECONDS = 2.0


@contextmanager
def held_by_driver(folder: Path, name: str = "driver", stop: StopFlag | None = None) -> Iterator[Lease]:
    """Hold the lease of the driver of an existing folder in the body.

    A lease of a process of this machine decides at once; one of another machine is watched until its counter changes
    (its holder lives) or has stood still for the lease time (it is dead, and the lease is taken over).

    Raises
    ------
    UsageError
        When another driver is at work, with its name.
    Interrupted
        When ``stop`` was set while waiting.
    """
    lease = Lease(folder, name)
    said = False
    began = time.monotonic()
    while True:
        held = lease.look()
        lives = held is not None and not held.free and (lease.observer.moved(held) or lease.observer.alive(held))
        # A lease that changes hands between look and acquire is no sign of life of the one that was seen.
        in_the_way = lease.acquire()
        if in_the_way is None:
            break
        if lives and in_the_way.holder is not None and held is not None and in_the_way.holder == held.holder:
            raise UsageError(
                f"{folder}: {in_the_way} is at work on it; wait for that, or stop it, and give the command again"
            )
        if stop is not None and stop.is_set():
            raise Interrupted(f"{stop.reason}: nothing was begun; the same command starts it")
        if not said and time.monotonic() - began > _RETRY_SECONDS:
            said = True
            say(
                shown(
                    f"dash-hpc: {in_the_way} was at work on {folder}; "
                    f"watching for at most {lease.seconds:g} s whether it still is"
                )
            )
        time.sleep(_LOOK_SECONDS)
    try:
        yield lease
    finally:
        lease.release()


def begin_anew(folder: Path, move_to: Path | None) -> None:
    """Make way for a fresh start: an output folder that is not empty is renamed to ``move_to``.

    Raises
    ------
    UsageError
        When it is not empty and ``move_to`` is missing, taken, or on another file system; or a driver is at work.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if move_to is None:
        raise UsageError(f"{folder}: not empty; say where to move it with --move-to, or leave out --fresh to go on")
    if move_to.exists():
        raise UsageError(f"--move-to {move_to}: exists already; name a new folder")
    if not is_store(folder):
        raise UsageError(f"{folder}: not the output of a study; move it yourself")
    make_folder(move_to.absolute().parent)
    with held_by_driver(folder):
        try:
            folder.rename(move_to)
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise UsageError(
                    f"--move-to {move_to}: on another file system; name a folder beside {folder}"
                ) from None
            raise UsageError(f"{folder} cannot be moved to {move_to}: {error.strerror}") from error
