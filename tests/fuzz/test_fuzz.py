"""The short form of the fuzz campaign (``make fuzz`` is the long one), and proof that it would notice."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from random import Random

import pytest
from harness import fuzz
from kind import Altered, Case, Kind
from registry import KINDS

SEED = 20261126


@pytest.mark.parametrize("make", KINDS, ids=[kind.name for kind in KINDS])
def test_no_traceback_no_hang_no_silent_alteration(make: type[Kind]) -> None:
    tally = fuzz(make(), seed=SEED, cases=make.short)
    assert tally.failures == []
    assert tally.cases == make.short
    # Not all of it may be harmless: what is changed has to be refused now and then.
    assert tally.outcomes["refused"] > make.short // 10


class _Faulty(Kind):
    """A reader with every fault there is."""

    name = "faulty"

    def prepare(self, place: Path) -> None:
        pass

    def mutate(self, rng: Random) -> Case:
        return Case(str(rng.randrange(5)), b"")

    def check(self, case: Case) -> str:
        which = int(case.label)
        if which == 0:
            raise KeyError("spec")
        if which == 1:
            raise Altered("another value")
        if which == 2:
            bytearray(1 << 30)
        if which == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return "refused"


def test_faults_would_be_noticed() -> None:
    tally = fuzz(_Faulty(), seed=1, cases=40)
    assert tally.cases == 40
    assert {"tracebacks", "alterations", "crashes"} <= tally.outcomes.keys()
    assert any("KeyError" in line for line in tally.wrong["tracebacks"])
    assert any("MemoryError" in line for line in tally.wrong["tracebacks"])


class _Endless(_Faulty):
    def check(self, case: Case) -> str:
        if case.label == "0":
            time.sleep(60)
        while case.label == "1":
            pass
        return "refused"


def test_hangs_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.WAIT_SECONDS", 0.3)
    monkeypatch.setattr("harness.CASE_SECONDS", 0.2)
    tally = fuzz(_Endless(), seed=1, cases=12)
    assert tally.outcomes["hangs"] >= 2
    assert tally.cases == 12
