from __future__ import annotations

import os
import signal
import threading

import pytest

from dash_hpc.execution.machine.signals import SIGNALS, StopFlag, process_flag


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_sets_the_flag_and_nothing_else(number: signal.Signals) -> None:
    left: list[int] = []
    before = [signal.getsignal(each) for each in SIGNALS]
    with StopFlag(left.append) as flag:
        assert not flag.is_set()
        os.kill(os.getpid(), number)
        assert flag.is_set()
        assert flag.reason == number.name
    assert [signal.getsignal(each) for each in SIGNALS] == before
    assert left == []


def test_a_second_signal_leaves_at_once() -> None:
    left: list[int] = []
    now = [0.0]
    with StopFlag(left.append, lambda: now[0]) as flag:
        os.kill(os.getpid(), signal.SIGUSR1)
        now[0] = 0.4
        os.kill(os.getpid(), signal.SIGUSR1)  # the launcher forwarded it as well
        assert left == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert left == [3]
        now[0] = 0.6
        os.kill(os.getpid(), signal.SIGUSR1)
        assert left == [3, 3]
        assert flag.reason == "SIGUSR1"


def test_a_broken_connection_is_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell sends SIGHUP, and then the terminal does, whenever it comes to that."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    left: list[int] = []
    now = [0.0]
    with StopFlag(left.append, lambda: now[0]) as flag:
        for second in (0.0, 5.0):
            now[0] = second
            os.kill(os.getpid(), signal.SIGHUP)
        assert (flag.reason, left) == ("SIGHUP", [])
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        assert left == [3]


def test_under_nohup_a_hangup_is_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopFlag() as flag:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not flag.is_set()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_first_reason_stays() -> None:
    flag = StopFlag()
    flag.set("time is up")
    flag.set("SIGTERM")
    assert (flag.is_set(), flag.reason) == (True, "time is up")
    flag.clear()
    assert not flag.is_set()


def test_other_threads_cannot_install_but_ask() -> None:
    flag = StopFlag()
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=lambda: flag.install().set("asked"))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before
    assert flag.reason == "asked"


def test_one_flag_per_process() -> None:
    assert process_flag() is process_flag()
    assert not process_flag().is_set()
