"""Calls as jobs of Slurm, behind the interface of ``concurrent.futures``, for people who script.

One job per call: for calls of minutes and more. A study is better off with ``dash-hpc submit``.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from dash_hpc.errors import StoreError, UsageError
from dash_hpc.execution.calls import Answer, Call, CallExecutor, perform, settle
from dash_hpc.execution.slurm import commands
from dash_hpc.execution.slurm.options import JobOptions
from dash_hpc.execution.slurm.script import call_script
from dash_hpc.names import to_bytes
from dash_hpc.store import make_folder, publish_bytes, publish_json
from dash_hpc.store.notes import Shape, anything, listing, parse_json, record, text
from dash_hpc.store.reading import read_bytes

__all__ = ["SlurmExecutor", "answer_call"]

_ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
    "TIMEOUT",
}  # fmt: skip
# A job that Slurm calls ended may still have its answer on the way through a network file system.
_LATE_SECONDS = 15.0
_ASK_SECONDS = 10.0
_MOST_BYTES = 1 << 28
_CALL = record({"call": text(), "args": listing(anything)})


class SlurmExecutor(CallExecutor):
    """Calls module-level functions, each in a job of its own.

    Parameters
    ----------
    folder : path
        Shared by all nodes; one sub-folder per call stays there with script, log and answer.
    options : JobOptions, optional
        What each job asks for.
    poll : float, default 2
        Seconds between two looks for answers; Slurm itself is asked every 10 s.

    Raises
    ------
    UsageError
        When ``poll`` is not positive.
    """

    def __init__(self, folder: Path | str, options: JobOptions | None = None, *, poll: float = 2.0) -> None:
        if not poll > 0:
            raise UsageError(f"poll must be a positive number of seconds, got {poll!r}")
        self.folder = Path(folder).absolute()
        self.options = options or JobOptions()
        self._poll = poll
        self._open: dict[str, tuple[Future[Any], Path]] = {}
        self._gone: dict[str, float] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="dash-hpc slurm", daemon=True)
        self._thread.start()

    def send(self, call: Call) -> Future[Any]:
        """Submit a job that executes a call.

        The future raises :class:`WorkerDied` when the job ended without an answer. It cannot be cancelled once Slurm
        has the job; see :meth:`stop`.

        Raises
        ------
        SchedulerSilent
            When sbatch refuses.
        """
        future: Future[Any] = Future()
        with self._lock:
            if self._closed.is_set():
                raise UsageError("this executor is closed")
            k = 1 + sum(1 for _ in self.folder.glob("call-*"))
            place = self.folder / f"call-{k}"
            make_folder(place / "log")
            publish_json(place / "call.json", call)
            publish_bytes(
                place / "call.sbatch", to_bytes(call_script(call["call"].partition(":")[2], place, self.options))
            )
            job = commands.submit(place / "call.sbatch")
            future.set_running_or_notify_cancel()
            self._open[job] = (future, place)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with ``wait`` return when all are done; ``cancel_futures`` cancels their jobs."""
        if cancel_futures:
            self.stop()
        self._closed.set()
        if wait:
            self._thread.join()

    def stop(self) -> None:
        """Cancel the jobs of all calls that are not done; these fail with :class:`WorkerDied`."""
        self._closed.set()
        with self._lock:
            jobs = list(self._open)
        commands.cancel(jobs)

    def _watch(self) -> None:
        asked = 0.0
        while True:
            closed = self._closed.wait(self._poll)
            with self._lock:
                calls = dict(self._open)
            if closed and not calls:
                return
            for job, (future, place) in calls.items():
                if (place / "answer.json").exists():
                    self._close(job, future, _read(place / "answer.json", _answer))
            if closed:
                time.sleep(self._poll)
            if calls and time.monotonic() - asked > _ASK_SECONDS:
                asked = time.monotonic()
                self._ask(calls)

    def _ask(self, calls: dict[str, tuple[Future[Any], Path]]) -> None:
        for job, states in commands.job_states(calls, commands.SECONDS).items():
            # "UNKNOWN" is no answer: the wait goes on.
            if states[0].state not in _ENDED:
                self._gone.pop(job, None)
                continue
            since = self._gone.setdefault(job, time.monotonic())
            if time.monotonic() - since >= _LATE_SECONDS or states[0].state == "CANCELLED":
                future, place = calls[job]
                if not future.done():
                    log = place / "log" / f"slurm-{job}.out"
                    text = (
                        f"job {job} ended without an answer ({states[0].state.lower()}, {states[0].reason}); see {log}"
                    )
                    self._close(job, future, {"error": "WorkerDied", "message": text})

    def _close(self, job: str, future: Future[Any], answer: Answer) -> None:
        with self._lock:
            if self._open.pop(job, None) is None:
                return
        settle(future, answer)


def answer_call(folder: Path) -> bool:
    """Execute the call that lies in ``folder`` and publish its answer; returns whether it gave a value."""
    call = _read(folder / "call.json", _CALL)
    answer = call if "error" in call else perform(call)
    publish_json(folder / "answer.json", answer)
    return "value" in answer


def _read(path: Path, shape: Shape) -> dict[str, Any]:
    """Read a call or an answer, or return the answer that it cannot be read."""
    try:
        found: dict[str, Any] = parse_json(read_bytes(path, limit=_MOST_BYTES), shape, endless=True)
    except StoreError as error:
        return {"error": "WorkerDied", "message": f"{path}: cannot be read ({error})"}
    return found


def _answer(value: Any) -> str:
    if isinstance(value, dict) and "value" in value:
        return ""
    return record({"error": text(200), "message": text(_MOST_BYTES)})(value)
