"""A start that is interrupted, at whatever moment, is over soon."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import dash_hpc
from dash_hpc.errors import Interrupted
from dash_hpc.execution import LocalExecutor
from dash_hpc.execution.machine import signals
from dash_hpc.execution.machine.signals import START_SECONDS, StopFlag
from dash_hpc.store import is_store, open_store

LIMIT_SECONDS = 5.0
MOMENTS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.1, 1.3, 1.5)
CLI = [sys.executable, "-m", "dash_hpc"]


def busy() -> float:
    """Return how many times longer a process takes here than the processor time that it gets, 1 or more."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return max(1.0, (time.monotonic() - began) / used)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_start_that_is_interrupted_is_over_within_five_seconds(
    tmp_path: Path, small_study: Callable[..., str], number: signal.Signals
) -> None:
    """Five seconds of an idle machine. Where others work as well (``busy``), only what follows the limit of a start,
    which is a time by the clock, may take longer: two seconds, so many times.
    """
    study = tmp_path / "long.toml"
    study.write_text(small_study("long", epochs=100_000, every=1000, seeds="[0, 1]"))
    environment = {**os.environ, "PYTHONPATH": str(Path(dash_hpc.__file__).parents[1])}
    for k, moment in enumerate(MOMENTS):
        words = [*CLI, "run", study, "--workers", "2", "--output", tmp_path / f"out-{k}"]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)
        time.sleep(moment)
        process.send_signal(number)
        began = time.monotonic()
        _, said = process.communicate(timeout=120)
        took = time.monotonic() - began
        limit = START_SECONDS + (LIMIT_SECONDS - START_SECONDS) * busy()
        assert took < limit, f"{moment} s after the start: {took:.1f} s; {said}"
        # In the first moments Python itself has not begun, and the signal ends it.
        if process.returncode != 3:
            assert process.returncode == -number, said
            assert not (tmp_path / f"out-{k}").exists()
        else:
            assert "interrupted" in said
            assert "internal" not in said
        if is_store(tmp_path / f"out-{k}"):
            assert open_store(tmp_path / f"out-{k}").problems == ()


def test_start_has_a_limit_until_it_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    said: list[str] = []
    monkeypatch.setattr(signals, "say", said.append)
    flag = StopFlag(left.append, starting=True)
    flag.set("SIGTERM", 0.05)
    assert flag.left() <= 0.05
    end = time.monotonic() + 30
    while not left and time.monotonic() < end:
        time.sleep(0.01)
    assert left == [3]
    assert "SIGTERM: interrupted before an epoch began" in said[0]

    flag = StopFlag(left.append, starting=True)
    flag.set("SIGTERM", 0.1)
    flag.begun()
    time.sleep(0.4)
    assert left == [3]
    # The next piece of a start finds the time used up.
    with flag.nothing_to_lose():
        while len(left) < 2 and time.monotonic() < end:
            time.sleep(0.01)
    assert left == [3, 3]

    without = StopFlag(left.append)
    without.set("SIGTERM", 0.0)
    with without.nothing_to_lose():
        time.sleep(0.2)
    assert left == [3, 3]


def test_worker_that_still_loads_leaves_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that takes a minute to load, as from a slow file system."""
    (tmp_path / "slow_library.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    executor = LocalExecutor(1, preload=["slow_library"])
    call = executor.submit(os.getpid)
    time.sleep(0.5)
    began = time.monotonic()
    executor.ask_to_stop("SIGTERM", 0.5)
    with pytest.raises(Interrupted):
        call.result(60)
    assert time.monotonic() - began < 30
    executor.stop()


def test_worker_says_when_a_run_begins(whole: object, planned: Path) -> None:
    from dash_hpc.execution.work.one_run import run_one

    begun = threading.Event()
    with LocalExecutor(1, on_begun=begun.set) as executor:
        assert executor.submit(os.getpid).result(120) > 0
        assert not begun.is_set()
        assert executor.submit(run_one, str(planned), open_store(planned).planned[0]).result(240) == "done"
        assert begun.is_set()
