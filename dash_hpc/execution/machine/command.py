"""Commands of others, asked with a limit of time and of bytes: none of them holds a process up or fills its memory."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

__all__ = ["MOST_BYTES", "Answer", "ask"]

MOST_BYTES = 4 << 20
"""More than this is no answer."""
_PIECE_BYTES = 1 << 16
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Answer:
    """What a command said: exit code, output, errors; ``fault`` is why it is no answer, or ""."""

    code: int
    out: str
    err: str
    fault: str = ""


def ask(
    words: Sequence[str], seconds: float, *, environ: Mapping[str, str] | None = None, most: int = MOST_BYTES
) -> Answer:
    """Run a command without input and return what it said, within ``seconds`` and ``most`` bytes.

    A command that is not through by then is killed with all that it started. Bytes that are not UTF-8 are replaced.

    Raises
    ------
    OSError
        When it cannot be started.
    """
    end = time.monotonic() + seconds
    process = subprocess.Popen(
        list(words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=None if environ is None else dict(environ), start_new_session=True,
    )  # fmt: skip
    said: dict[int, bytearray] = {}
    fault = "interrupted"
    try:
        pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe is not None]
        said = {pipe.fileno(): bytearray() for pipe in pipes}
        fault = _listen(process, pipes, said, end, seconds, most)
    finally:
        if fault:
            _kill(process)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    out, err = (bytes(text).decode("utf-8", "replace") for text in said.values())
    return Answer(process.returncode if process.returncode is not None else -signal.SIGKILL, out, err, fault)


def _listen(
    process: subprocess.Popen[bytes],
    pipes: Sequence[IO[bytes]],
    said: dict[int, bytearray],
    end: float,
    seconds: float,
    most: int,
) -> str:
    """Read until the command has ended; return why its answer cannot be used, or ""."""
    poll = select.poll()
    for pipe in pipes:
        os.set_blocking(pipe.fileno(), False)
        poll.register(pipe.fileno(), select.POLLIN)
    open_pipes = len(pipes)
    while True:
        # Looked at before the pipes are: what an ended command has said is there. Its children may keep them open.
        ended = process.poll() is not None
        events = poll.poll(0 if ended else 1000 * _LOOK_SECONDS) if open_pipes else []
        if not open_pipes and not ended:
            time.sleep(_LOOK_SECONDS)
        for descriptor, _ in events:
            piece = b""
            with suppress(BlockingIOError):
                piece = os.read(descriptor, _PIECE_BYTES)
                if not piece:
                    poll.unregister(descriptor)
                    open_pipes -= 1
            said[descriptor] += piece
            if sum(map(len, said.values())) > most:
                return f"answers with more than {most >> 20} MiB"
        if ended and not events:
            return ""
        if time.monotonic() >= end:
            return f"does not answer within {seconds:g} s"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the command and of what it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(1.0)
