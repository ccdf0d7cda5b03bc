"""Signals set a flag; whoever works looks at it between two steps.

``TERM``, ``INT``, ``USR1`` and ``USR2`` mean the same: make a checkpoint at the next epoch boundary and leave with exit
code 3. A second signal leaves at once. A launcher may deliver one signal twice (to the group, and forwarded), so the
same signal within half a second counts once. In a job of Slurm further signals change nothing: a scheduler sends
several (a warning, then TERM, to each step and its processes), and ends a job that takes too long itself.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

__all__ = ["EXIT_CODE", "SIGNALS", "StopFlag", "process_flag"]

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
EXIT_CODE = 3
_SAME_SECONDS = 0.5


class StopFlag:
    """A request to stop, from a signal or from :meth:`set`.

    Used as a context manager it is installed in the body and the former handlers come back after it.

    Attributes
    ----------
    reason : str
        Name of the signal, or the text given to :meth:`set`; "" while nothing was asked for.
    patient : bool
        Whether further signals change nothing; True at first in a job of Slurm.
    """

    def __init__(self, leave: Callable[[int], Any] = os._exit, clock: Callable[[], float] = time.monotonic) -> None:
        self.reason = ""
        self.patient = bool(os.environ.get("SLURM_JOB_ID"))
        self._leave = leave
        self._clock = clock
        self._since = 0.0
        self._former: dict[int, Any] = {}

    def install(self) -> StopFlag:
        """Receive the four signals from now on. Does nothing outside the main thread, which alone may do so."""
        if threading.current_thread() is threading.main_thread() and not self._former:
            for number in SIGNALS:
                self._former[number] = signal.signal(number, self._receive)
        return self

    def uninstall(self) -> None:
        """Give the signals back to those who received them before."""
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._former.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
            self._former = {}

    def is_set(self) -> bool:
        """Return whether somebody has asked to stop."""
        return bool(self.reason)

    def set(self, reason: str) -> None:
        """Ask to stop; the first reason stays."""
        if not self.reason:
            self._since = self._clock()
            self.reason = reason

    def clear(self) -> None:
        """Forget the request."""
        self.reason = ""

    def _receive(self, number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        if not self.reason:
            self.set(name)
        elif not self.patient and (name != self.reason or self._clock() - self._since >= _SAME_SECONDS):
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
