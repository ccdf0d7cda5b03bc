"""Signals set a flag; whoever works looks at it between two steps.

``TERM``, ``INT``, ``HUP``, ``USR1`` and ``USR2`` mean the same: make a checkpoint at the next epoch boundary and leave
with exit code 3. A second signal leaves at once. A launcher may deliver one signal twice (to the group, and forwarded),
so the same signal within half a second counts once; ``HUP`` is never a second signal, for shell and terminal each send
one when a connection breaks. Where ``HUP`` is ignored (``nohup``) it stays so. In a job of Slurm further signals change
nothing: a scheduler sends several (a warning, then TERM, to each step and its processes), and ends a job that takes too
long itself.

The start of a process that is our own has a limit. While nothing can be lost yet (libraries load, data are read) a
request to stop leaves it ``START_SECONDS`` to begin its first epoch, lest a study that is stopped at every start never
gets on; then the process ends.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from dash_hpc.execution.machine.streams import say

__all__ = ["EXIT_CODE", "SIGNALS", "START_SECONDS", "StopFlag", "nothing_to_lose", "process_flag"]

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
EXIT_CODE = 3
START_SECONDS = 3.0
_SAME_SECONDS = 0.5


class StopFlag:
    """A request to stop, from a signal or from :meth:`set`.

    Used as a context manager it is installed in the body and the former handlers come back after it.

    Parameters
    ----------
    starting : bool, default False
        Whether this process starts, and ends with exit code 3 when it is asked to stop and does not get to
        :meth:`begun` in time. Files appear whole, and a lease of a dead process holds nobody up.

    Attributes
    ----------
    reason : str
        Name of the signal, or the text given to :meth:`set`; "" while nothing was asked for.
    patient : bool
        Whether further signals change nothing; True at first in a job of Slurm.
    on_begun : callable
        Called at the end of :meth:`nothing_to_lose`.
    """

    def __init__(
        self,
        leave: Callable[[int], Any] = os._exit,
        clock: Callable[[], float] = time.monotonic,
        *,
        starting: bool = False,
    ) -> None:
        self.reason = ""
        self.patient = bool(os.environ.get("SLURM_JOB_ID"))
        self.on_begun: Callable[[], Any] = lambda: None
        self._leave = leave
        self._clock = clock
        self._since = 0.0
        self._seconds = START_SECONDS
        self._starting = starting
        self._limited = starting
        self._watched = False
        self._former: dict[int, Any] = {}

    def install(self) -> StopFlag:
        """Receive the signals from now on. Does nothing outside the main thread, which alone may do so."""
        if threading.current_thread() is threading.main_thread() and not self._former:
            for number in SIGNALS:
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    self._former[number] = signal.signal(number, self._receive)
        return self

    def uninstall(self) -> None:
        """Give the signals back to those who received them before."""
        self._starting = False
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._former.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
            self._former = {}

    def is_set(self) -> bool:
        """Return whether somebody has asked to stop."""
        return bool(self.reason)

    def set(self, reason: str, seconds: float = START_SECONDS) -> None:
        """Ask to stop; the first reason stays. A start that is under way has so many seconds left."""
        if not self.reason:
            self._since, self._seconds = self._clock(), seconds
            self.reason = reason
            self._watch()

    def clear(self) -> None:
        """Forget the request."""
        self.reason = ""

    def left(self) -> float:
        """Return the seconds that a request has left to a start; all of them without a request."""
        return max(0.0, self._since + self._seconds - self._clock()) if self.reason else self._seconds

    def limit_start(self) -> None:
        """Say that a start is under way in this process; as ``starting`` does."""
        self._limited = self._starting = True
        self._watch()

    def begun(self) -> None:
        """Say that the start is over: from now on a request waits for the end of an epoch."""
        self._starting = False

    @contextmanager
    def nothing_to_lose(self) -> Iterator[None]:
        """Extend the start over the body, where starts have a limit."""
        if self._limited:
            self.limit_start()
        yield
        self.begun()
        self.on_begun()

    def _watch(self) -> None:
        if self.reason and self._starting and not self._watched:
            self._watched = True
            # Not a Thread: its locks are not to be taken in a signal handler.
            _thread.start_new_thread(self._end_start, ())

    def _end_start(self) -> None:
        time.sleep(self.left())
        self._watched = False  # before the look: the next piece of a start is watched again
        if self._starting and self.reason:
            # A live table has hidden the cursor.
            cursor = "\x1b[?25h" if sys.stderr is not None and sys.stderr.isatty() else ""
            say(f"{cursor}dash-hpc: {self.reason}: interrupted before an epoch began; the same command begins it")
            self._leave(EXIT_CODE)

    def _receive(self, number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        if not self.reason:
            self.set(name)
        elif self.patient or number == signal.SIGHUP:
            return
        elif name != self.reason or self._clock() - self._since >= _SAME_SECONDS:
            self._leave(EXIT_CODE)

    def __enter__(self) -> StopFlag:
        return self.install()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.uninstall()


_FLAG = StopFlag()


def process_flag() -> StopFlag:
    """Return the one flag of this process: runs look at it; whoever owns the process installs it."""
    return _FLAG


def nothing_to_lose() -> Any:
    """Return :meth:`StopFlag.nothing_to_lose` of this process's flag."""
    return _FLAG.nothing_to_lose()
