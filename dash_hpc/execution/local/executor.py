"""Worker processes of this machine behind the interface of ``concurrent.futures``.

Each worker has its own pipe, so a worker that is killed fails exactly the call it was at; a fresh one takes its
place. The processes are new interpreters that never import the caller's main module: a script needs no
``if __name__ == "__main__"`` guard, and the thread limits are in force before any library loads.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import dash_hpc
from dash_hpc.errors import DashHpcError, Interrupted, UsageError, WorkerDied
from dash_hpc.execution.calls import Call, CallExecutor, value_of
from dash_hpc.execution.machine.journal import open_log
from dash_hpc.execution.machine.signals import EXIT_CODE, SIGNALS, START_SECONDS
from dash_hpc.execution.threads import ONE_THREAD

__all__ = ["START_TRIES", "LocalExecutor"]

# The folder in which the user happens to be must not shadow modules ("random.py" beside the study).
_START = "import sys; sys.path = [p for p in sys.path if p]; from dash_hpc.execution.local.child import main; main()"
_GRACE_SECONDS = 5.0
START_TRIES = 5
"""How often in a row a worker may be killed before it is ready."""


class LocalExecutor(CallExecutor):
    """Calls module-level functions in worker processes of this machine, one thread each.

    Parameters
    ----------
    workers : int
        Number of processes; they start with the first calls.
    log_folder : path, optional
        Existing folder for what workers print (``<name>-<k>.log``); without it their output is discarded.
    name : str, default "worker"
    preload : sequence of str
        Modules that workers import before their first call. With any, the workers start at once.
    on_begun : callable
        Called, from some thread, whenever the first epoch of a run begins.
    gpus : sequence of str
        GPUs for the workers in turn, as CUDA_VISIBLE_DEVICES takes them; without any all see what this process sees.

    Raises
    ------
    UsageError
        When ``workers`` is not 1 or more.
    """

    def __init__(
        self,
        workers: int,
        log_folder: Path | None = None,
        *,
        name: str = "worker",
        preload: Sequence[str] = (),
        gpus: Sequence[str] = (),
        on_begun: Callable[[], Any] = lambda: None,
    ) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise UsageError(f"workers must be 1 or more, got {workers!r}")
        self.workers = workers
        self._queue: queue.SimpleQueue[tuple[Future[Any], Call] | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._slots = [
            _Slot(
                self._queue,
                self._closed,
                _log(log_folder, name, k),
                tuple(preload),
                {"CUDA_VISIBLE_DEVICES": gpus[k % len(gpus)]} if gpus else {},
                on_begun,
            )
            for k in range(workers)
        ]

    def send(self, call: Call) -> Future[Any]:
        """Have a worker execute a call."""
        with self._lock:
            if self._closed.is_set():
                raise UsageError("this executor is closed")
            future: Future[Any] = Future()
            self._queue.put((future, call))
            return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers after their calls; with ``cancel_futures`` calls that have not begun are cancelled."""
        with self._lock:
            if not self._closed.is_set():
                self._closed.set()
                if cancel_futures:
                    self._cancel_waiting()
                for _ in self._slots:
                    self._queue.put(None)
        if wait:
            for slot in self._slots:
                slot.join()

    def ask_to_stop(self, reason: str, seconds: float = START_SECONDS) -> None:
        """Ask for an end: ``process_flag`` is set in the workers. A worker ends its call soon and leaves; one that is
        still loading gets its first call all the same, if that can begin within ``seconds``. Other calls fail with
        :class:`Interrupted`.
        """
        for slot in self._slots:
            slot.ask(reason, seconds)

    def stop(self) -> None:
        """End everything now: waiting calls are cancelled, calls under way fail with :class:`WorkerDied`."""
        with self._lock:
            self._cancel_waiting()
        self.shutdown(wait=False, cancel_futures=True)
        for slot in self._slots:
            slot.end()
        for slot in self._slots:
            slot.join()

    def _cancel_waiting(self) -> None:
        with suppress(queue.Empty):
            while True:
                item = self._queue.get_nowait()
                if item is not None:
                    item[0].cancel()


class _Slot(threading.Thread):
    """Hands calls to one worker process and starts a new one when it has died."""

    def __init__(
        self,
        calls: queue.SimpleQueue[Any],
        closed: threading.Event,
        log: Path | None,
        preload: tuple[str, ...],
        environment: Mapping[str, str],
        on_begun: Callable[[], Any],
    ) -> None:
        super().__init__(daemon=True)
        self._on_begun = on_begun
        self._environment = environment
        self._preload = preload
        self._asked = ""
        self._until = 0.0
        self._called = False
        self._calls = calls
        self._closed = closed
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._ending = False
        self._process_lock = threading.Lock()
        self._write_lock = threading.Lock()
        self.start()

    def run(self) -> None:
        if self._preload:
            with suppress(DashHpcError):  # the first call will tell
                self._running()
        while (item := self._calls.get()) is not None:
            future, call = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                value = self._call(call)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(value)
            # Otherwise the loop variable keeps the last result alive while the slot waits.
            del future, item
        self._leave()

    def end(self) -> None:
        """Kill the process, from any thread; it gets no successor. Files are published whole, so that is safe."""
        with self._process_lock:
            self._ending = True
            process = self._process
        if process is not None and process.poll() is None:
            with suppress(ProcessLookupError):
                process.kill()

    def ask(self, reason: str, seconds: float) -> None:
        """Ask the process to leave after its call, from any thread; one that is loading has so many seconds."""
        with self._process_lock:
            self._asked, self._until = reason, time.monotonic() + seconds
            process = self._process
        if process is not None:
            self._tell(process)

    def _tell(self, process: subprocess.Popen[str]) -> None:
        with suppress(OSError, ValueError):
            self._write(process, {"stop": self._asked, "seconds": max(0.0, self._until - time.monotonic())})

    def _write(self, process: subprocess.Popen[str], message: dict[str, Any]) -> None:
        if process.stdin is None:
            raise WorkerDied("the worker has no pipes")
        with self._write_lock:
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()

    def _call(self, call: Call) -> Any:
        process = self._running()
        self._called = True
        try:
            self._write(process, call)
            while (line := process.stdout.readline() if process.stdout is not None else "").startswith('{"begun"'):
                self._on_begun()
        except (BrokenPipeError, ConnectionResetError):
            line = ""
        if not line.endswith("\n"):
            code = self._discard()
            if code == EXIT_CODE:
                raise Interrupted(f"worker process {process.pid} left on request")
            raise WorkerDied(_last_words(process, code))
        return value_of(json.loads(line))

    def _running(self, tries: int = START_TRIES) -> subprocess.Popen[str]:
        """Return a process that waits for calls. One that is killed before it is ready was at nobody's run."""
        with self._process_lock:
            if self._ending:
                raise WorkerDied("the workers were stopped")
            # A study that is signalled while it starts, again and again, still gets on: the first call is served.
            if self._asked and (self._called or time.monotonic() >= self._until):
                raise Interrupted(f"no more calls: {self._asked}")
            if self._process is not None and self._process.poll() is None:
                return self._process
            self._process = process = _start(self._log, self._preload, self._environment)
            asked = self._asked
        if asked:
            self._tell(process)
        line = process.stdout.readline() if process.stdout is not None else ""
        if '"ready"' not in line:
            code = self._discard()
            if self._ending:
                raise WorkerDied("the workers were stopped")
            if code < 0 and tries > 1:
                return self._running(tries - 1)
            if code == EXIT_CODE:
                raise Interrupted(f"worker process {process.pid} left on request")
            where = f"; see {self._log}" if self._log else ""
            raise UsageError(
                f"a worker process cannot start (exit code {code}){where}; try: {sys.executable} -m dash_hpc"
            )
        return process

    def _discard(self) -> int:
        """Forget the process, which has ended or is useless, and return its exit code."""
        with self._process_lock:
            process, self._process = self._process, None
        return _end(process) if process is not None else 0

    def _leave(self) -> None:
        self._discard()


def _start(log: Path | None, preload: tuple[str, ...], own: Mapping[str, str]) -> subprocess.Popen[str]:
    package_root = str(Path(dash_hpc.__file__).resolve().parents[1])
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    environment = {**os.environ, **ONE_THREAD, **own, "PYTHONPATH": os.pathsep.join([*paths, package_root])}
    output: IO[bytes] | int = subprocess.DEVNULL
    with suppress(OSError):
        if log is not None:
            output = open_log(log)
    # The new process inherits the mask; it lets signals through when it can receive them.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        return subprocess.Popen(
            [sys.executable, "-X", "utf8", "-c", _START, *preload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env=environment,
            text=True,
            encoding="utf-8",
            # Ctrl-C in the terminal is for the driver, which decides what happens to the workers.
            start_new_session=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if not isinstance(output, int):
            output.close()


def _end(process: subprocess.Popen[str]) -> int:
    """Close the pipes (a waiting worker leaves then), wait, and kill what stays."""
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
    try:
        code = process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    if process.stdout is not None:
        process.stdout.close()
    return code


def _last_words(process: subprocess.Popen[str], code: int) -> str:
    if code >= 0:
        return f"worker process {process.pid} ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ", often for lack of memory" if name == "SIGKILL" else ""
    return f"worker process {process.pid} was killed by {name}{hint}"


def _log(folder: Path | None, name: str, k: int) -> Path | None:
    return None if folder is None else folder / f"{name}-{k}.log"
