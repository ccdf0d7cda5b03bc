"""Standard streams that never stand in the way of the work: what people are told is convenience.

Standard error and output may be full, closed, a pipe whose reader has left or does not read, or a terminal that went
away. None of these ends a study or changes its exit code: what cannot be written is dropped, and remembered for those
whose only work is the answer (:func:`failure`).
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import BinaryIO, TextIO, cast

__all__ = ["failure", "make_safe", "occupy", "say"]

#: So long a message waits for a reader that does not read (a stopped pager, a terminal on hold) before it is dropped.
_PATIENCE_SECONDS = 1.0
#: A pipe that can be written to takes at least so many bytes at once without waiting.
_PIECE_BYTES = select.PIPE_BUF


class _Lenient(io.RawIOBase):
    """A descriptor to write to; what it does not take is dropped, and the first reason kept.

    With ``patience`` a write waits at most so many seconds; what it must wait for after that is dropped until somebody
    reads again. Without, it waits as long as it takes.
    """

    def __init__(self, descriptor: int, patience: float | None) -> None:
        self.name = {1: "<stdout>", 2: "<stderr>"}.get(descriptor, descriptor)
        self._descriptor = descriptor
        self._patience = patience
        self._stuck = False
        self.reason: OSError | None = None

    def write(self, data: object) -> int:
        rest = memoryview(cast(bytes, data)).cast("B")
        size = len(rest)
        while rest and self._ready():
            try:
                rest = rest[os.write(self._descriptor, rest[:_PIECE_BYTES]) :]
            except BlockingIOError:
                continue  # somebody else wrote in between, or made the descriptor non-blocking
            except OSError as error:
                self.reason = self.reason or error
                break
        return size

    def _ready(self) -> bool:
        """Wait until a write does not have to; return whether it may be tried."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        # One that did not read for the whole patience gets no second one.
        limit = 0.0 if self._stuck else self._patience
        try:
            self._stuck = not poll.poll(None if limit is None else 1000 * limit)
        except OSError:
            self._stuck = False  # the write will say what is wrong
        return not self._stuck

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True


def occupy() -> None:
    """Put the null device where descriptors 0, 1 and 2 are closed.

    Otherwise the next file that is opened becomes standard error, and messages are written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest free number, so this one
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)


def make_safe() -> None:
    """Make the standard streams of this process safe; for the owner of the process, before it opens any file.

    A stream that somebody put in the place of Python's own is theirs, and stays.
    """
    occupy()
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", errors="replace", closefd=False)
    # Answers wait for a pager; messages about a study must not hold it up.
    sys.stdout = _safe(sys.stdout, sys.__stdout__, 1, None)
    sys.stderr = _safe(sys.stderr, sys.__stderr__, 2, _PATIENCE_SECONDS)


def _safe(stream: TextIO | None, own: TextIO | None, number: int, patience: float | None) -> TextIO:
    if stream is not None and (stream is not own or isinstance(_raw(stream), _Lenient)):
        return stream
    raw = _Lenient(number, patience)
    unbuffered = bool(getattr(stream, "write_through", False))
    return io.TextIOWrapper(
        cast(BinaryIO, raw) if unbuffered else io.BufferedWriter(raw),
        encoding=stream.encoding if stream is not None else "utf-8",
        # Output into a terminal or file of another encoding must not end in an error over a λ.
        errors="replace",
        line_buffering=number == 2 or bool(getattr(stream, "line_buffering", False)),
        write_through=unbuffered,
    )


def _raw(stream: object) -> object:
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)


def failure(stream: TextIO | None) -> OSError | None:
    """Return why a stream of :func:`make_safe` dropped something, other than that its reader had seen enough."""
    raw = _raw(stream)
    reason = raw.reason if isinstance(raw, _Lenient) else None
    return None if reason is None or reason.errno == errno.EPIPE else reason


def say(text: str, stream: TextIO | None = None) -> None:
    """Write a line to standard error, or to ``stream``, if it can be written; also where :func:`make_safe` was not."""
    stream = stream if stream is not None else sys.stderr
    if stream is None:
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    with suppress(OSError, ValueError):  # full, gone; closed
        stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        stream.flush()
