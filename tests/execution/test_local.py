from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from dash_hpc.errors import Interrupted, RunFailed, StoreError, UsageError, WorkerDied
from dash_hpc.execution import LocalExecutor


def test_calls_in_other_processes(functions: Any, tmp_path: Path) -> None:
    with LocalExecutor(2, tmp_path) as executor:
        sums = [executor.submit(functions.add, k, 1) for k in range(6)]
        assert [future.result(60) for future in sums] == [1, 2, 3, 4, 5, 6]
        assert executor.submit(functions.pid).result(60) != os.getpid()
    assert "a library prints" in "".join(path.read_text() for path in tmp_path.glob("worker-*.log"))


def test_workers_have_one_thread_and_a_fixed_hash(
    functions: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    (tmp_path / "random.py").write_text("raise RuntimeError('shadowed')")
    monkeypatch.chdir(tmp_path)
    with LocalExecutor(1) as executor:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED")
        assert executor.submit(functions.environment, *names).result(60) == ["1", "1", "1", "0"]
        assert executor.submit(functions.threads).result(60) == 1
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_workers_get_gpus_in_turn(functions: Any, tmp_path: Path) -> None:
    """Each call waits until all three are under way, so that three workers answer."""
    with LocalExecutor(3, tmp_path, gpus=("4", "GPU-ab")) as executor:
        calls = [executor.submit(functions.gpu_of_worker, str(tmp_path), 3) for _ in range(3)]
        assert sorted(call.result(60) for call in calls) == ["4", "4", "GPU-ab"]


def test_exceptions_come_back_by_name(functions: Any) -> None:
    with LocalExecutor(1) as executor:
        with pytest.raises(StoreError, match="disk full"):
            executor.submit(functions.refuse, "disk full").result(60)
        with pytest.raises(RunFailed, match="ZeroDivisionError: division by zero"):
            executor.submit(functions.divide, 1, 0).result(60)
        assert executor.submit(functions.add, 1, 1).result(60) == 2


def test_killed_worker_fails_only_its_own_call(functions: Any) -> None:
    with LocalExecutor(1) as executor:
        before = executor.submit(functions.pid)
        killed = executor.submit(functions.kill_self)
        left = executor.submit(functions.leave, 5)
        after = executor.submit(functions.pid)
        with pytest.raises(WorkerDied, match="killed by SIGKILL, often for lack of memory"):
            killed.result(60)
        with pytest.raises(WorkerDied, match="exit code 5"):
            left.result(60)
        assert before.result(60) != after.result(60)


def test_stop_ends_calls_under_way_and_cancels_the_rest(functions: Any, tmp_path: Path) -> None:
    executor = LocalExecutor(1)
    started = tmp_path / "started"
    under_way = executor.submit(functions.sleep, 600, str(started))
    waiting = executor.submit(functions.add, 1, 1)
    deadline = time.monotonic() + 60
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    began = time.monotonic()
    executor.stop()
    assert time.monotonic() - began < 10
    with pytest.raises(WorkerDied):
        under_way.result(1)
    with pytest.raises(CancelledError):
        waiting.result(1)
    with pytest.raises(UsageError, match="closed"):
        executor.submit(functions.add, 1, 1)


def test_request_to_stop(functions: Any, tmp_path: Path) -> None:
    """A call under way ends by itself and soon; calls that have not begun do not begin."""
    with LocalExecutor(1) as executor:
        started = tmp_path / "started"
        under_way = executor.submit(functions.until_stopped, str(started))
        waiting = executor.submit(functions.add, 1, 1)
        deadline = time.monotonic() + 60
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        executor.ask_to_stop("SIGUSR1")
        assert under_way.result(60) == "SIGUSR1"
        with pytest.raises(Interrupted):
            waiting.result(60)


@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_request_to_stop_while_libraries_load(functions: Any, tmp_path: Path, seconds: float) -> None:
    """The first call is served with the flag set: it knows best how to end soon. Others are not."""
    with LocalExecutor(1, tmp_path, preload=["dash_hpc.training"]) as executor:
        first = executor.submit(functions.until_stopped, str(tmp_path / "started"))
        second = executor.submit(functions.add, 1, 1)
        time.sleep(seconds)
        executor.ask_to_stop("SIGTERM")
        assert first.result(60) == "SIGTERM"
        with pytest.raises(Interrupted):
            second.result(60)


def test_worker_that_was_asked_while_idle_takes_no_call(functions: Any) -> None:
    with LocalExecutor(1) as executor:
        assert executor.submit(functions.add, 1, 1).result(60) == 2
        executor.ask_to_stop("SIGTERM")
        with pytest.raises(Interrupted, match="no more calls: SIGTERM"):
            executor.submit(functions.add, 1, 1).result(60)


def test_worker_that_is_signalled_leaves_after_its_call(functions: Any, tmp_path: Path) -> None:
    with LocalExecutor(1) as executor:
        first = executor.submit(functions.pid).result(60)
        started = tmp_path / "started"
        under_way = executor.submit(functions.until_stopped, str(started))
        deadline = time.monotonic() + 60
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(first, signal.SIGTERM)
        assert under_way.result(60) == "SIGTERM"
        deadline = time.monotonic() + 60
        while Path(f"/proc/{first}").exists() and time.monotonic() < deadline:
            process = executor._slots[0]._process
            assert process is not None
            if process.poll() is not None:
                break
            time.sleep(0.02)
        assert executor.submit(functions.pid).result(60) != first


def test_worker_ends_when_its_parent_is_gone(functions: Any) -> None:
    executor = LocalExecutor(1)
    pid = executor.submit(functions.pid).result(60)
    process = executor._slots[0]._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) == 3
    assert process.pid == pid
    executor.shutdown()


def test_worker_that_cannot_start_is_reported(functions: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dash_hpc.execution.local.executor._START", "raise SystemExit('no')")
    executor = LocalExecutor(1, tmp_path)
    with pytest.raises(UsageError, match=r"cannot start \(exit code 1\); see .*worker-0\.log"):
        executor.submit(functions.add, 1, 1).result(60)
    executor.stop()
    assert "no" in (tmp_path / "worker-0.log").read_text()


@pytest.mark.parametrize("workers", [0, -1, True, 1.5, None])
def test_number_of_workers(workers: Any) -> None:
    with pytest.raises(UsageError, match="workers must be 1 or more"):
        LocalExecutor(workers)


def test_functions_that_no_worker_could_import() -> None:
    before = threading.active_count()
    with LocalExecutor(1) as executor, pytest.raises(UsageError, match="module-level"):
        executor.submit(lambda: 1)
    assert threading.active_count() == before
