"""Runs the cases of a kind in forked children: a crash, a hang or a leak of one case ends that child alone.

A case is known by its kind and number: the same seed makes the same case, whatever came before it.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from kind import Altered, Case, Kind

__all__ = ["Tally", "fuzz"]

#: What no reader may take for one small file: processor time, memory. (Sizes are judged before anything is read.)
CASE_SECONDS = 5.0
CASE_BYTES = 500_000_000
#: Nor may it wait: who does uses no processor time, and so does who has no core on a busy machine.
WAIT_SECONDS = 60.0
_BATCH = 100


@dataclass
class Tally:
    """What became of the cases of one kind."""

    kind: str
    cases: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    #: One line for each case that went wrong, by "tracebacks", "hangs", "crashes", "alterations".
    wrong: dict[str, list[str]] = field(default_factory=dict)

    def note(self, number: int, outcome: str, text: str) -> None:
        """Count a case."""
        self.cases += 1
        self.outcomes[outcome] += 1
        if outcome in ("tracebacks", "hangs", "crashes", "alterations"):
            self.wrong.setdefault(outcome, []).append(f"{self.kind}, case {number}: {text}")

    @property
    def failures(self) -> list[str]:
        """All lines of :attr:`wrong`."""
        return [line for lines in self.wrong.values() for line in lines]


class _Hang(BaseException):
    pass


def fuzz(kind: Kind, *, seed: int, cases: int | None = None, seconds: float = 0.0, first: int = 0) -> Tally:
    """Try ``cases`` cases of a kind, or as many as ``seconds`` allow."""
    place = Path(tempfile.mkdtemp(prefix="dash-hpc-fuzz-"))
    tally = Tally(kind.name)
    began = time.monotonic()
    try:
        kind.prepare(place)
        number = first
        while (number < first + cases) if cases is not None else (time.monotonic() - began < seconds):
            until = min(number + _BATCH, first + cases) if cases is not None else number + _BATCH
            number = _batch(kind, seed, number, until, tally, began + seconds if cases is None else None)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    tally.seconds = time.monotonic() - began
    return tally


def _batch(kind: Kind, seed: int, first: int, until: int, tally: Tally, deadline: float | None) -> int:
    """Do some cases in a child; return the number of the next one."""
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            _work(kind, seed, first, until, writer, deadline)
        finally:
            os._exit(0)
    os.close(writer)
    number = first
    pending = b""
    killed = False
    while True:
        # The child's own alarms come first, unless it is stuck outside of Python.
        ready, _, _ = select.select([reader], [], [], 2 * WAIT_SECONDS)
        if not ready:
            killed = True
            os.kill(child, signal.SIGKILL)
            break
        data = os.read(reader, 1 << 16)
        if not data:
            break
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            number, outcome, text = json.loads(line)
            tally.note(number, outcome, text)
            number += 1
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if killed or (number < until and deadline is None) or os.WIFSIGNALED(status):
        how = "no answer, not even to an alarm" if killed else f"the process ended with {status:#x}"
        tally.note(number, "hangs" if killed else "crashes", f"{how} (seed {seed})")
        return number + 1
    return number


def _work(kind: Kind, seed: int, first: int, until: int, writer: int, deadline: float | None) -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + CASE_BYTES, size + CASE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def alarm(number: int, frame: object) -> None:
        raise _Hang

    signal.signal(signal.SIGALRM, alarm)
    signal.signal(signal.SIGPROF, alarm)
    for number in range(first, until):
        if deadline is not None and time.monotonic() > deadline:
            break
        outcome, text = _one(kind, seed, number)
        os.write(writer, json.dumps([number, outcome, text]).encode() + b"\n")


def _one(kind: Kind, seed: int, number: int) -> tuple[str, str]:
    case = Case("no case was made", b"")
    signal.setitimer(signal.ITIMER_REAL, WAIT_SECONDS)
    signal.setitimer(signal.ITIMER_PROF, CASE_SECONDS)
    try:
        case = kind.mutate(Random(f"{seed} {kind.name} {number}"))
        return kind.check(case), ""
    except _Hang:
        where = traceback.format_exc().strip().splitlines()[-3:]
        return "hangs", f"{case.label}: no end; {' | '.join(line.strip() for line in where)}"
    except Altered as error:
        return "alterations", f"{case.label}: {error}"
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-4:]))
        return "tracebacks", f"{case.label}: {type(error).__name__}: {str(error)[:200]} ({where})"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
