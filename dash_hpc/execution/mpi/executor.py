"""An executor over ``mpi4py.futures``: calls in bundles to the ranks, and to rank 0's own worker processes."""

from __future__ import annotations

import math
import threading
from collections import deque
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dash_hpc.errors import StoreError, UsageError
from dash_hpc.execution.calls import Answer, Call, CallExecutor, failure, settle
from dash_hpc.execution.machine.signals import StopFlag
from dash_hpc.execution.mpi.rank import END, Station
from dash_hpc.store import publish_json

if TYPE_CHECKING:
    from mpi4py.futures import MPIPoolExecutor

__all__ = ["MPIExecutor", "perform_all"]

# So long the dispatcher waits for further calls before it sends a bundle that is not full.
_GATHER_SECONDS = 0.005


class MPIExecutor(CallExecutor):
    """Calls module-level functions on all ranks, with the interface of ``concurrent.futures``.

    Made by :func:`mpi_session` on rank 0. Calls start in the order of submission; a rank with several cores gets
    several at a time.

    Attributes
    ----------
    workers : int
        How many calls run at a time, on all ranks together.
    station : Station
        This rank's worker processes and its line to the other ranks.
    messages : int
        Messages sent and received for calls so far.
    """

    def __init__(self, pool: MPIPoolExecutor | None, station: Station, threads: list[int]) -> None:
        self.station = station
        self.messages = 0
        self._pool = pool
        self._own = threads[0]
        # The pool chooses the rank, so that a bundle must fit them all.
        self._bundle = min(threads[1:], default=1)
        self._ranks = len(threads) - 1
        self.workers = self._own + self._bundle * self._ranks
        self._waiting: deque[tuple[Future[Any], Call]] = deque()
        self._change = threading.Condition()
        self._free_own, self._free_ranks = self._own, self._ranks
        self._closed = False
        self._log_folder: str | None = None
        self._thread = threading.Thread(target=self._dispatch, name="dash-hpc dispatch", daemon=True)
        self._thread.start()

    def begin(self, log_folder: Path) -> list[str]:
        """Store the ranks as ``ranks.json`` in an existing folder, where workers then log; return them as text.

        A log that cannot be written is told, and stops nothing.
        """
        self._log_folder = str(log_folder)
        self.station.log_folder = log_folder
        ranks = [binding.to_dict() for binding in self.station.bindings]
        lines = self.station.lines()
        try:
            publish_json(log_folder / "ranks.json", {"library": self.station.library, "ranks": ranks})
        except StoreError as error:
            lines.append(f"warning: {error}")
        return lines

    def send(self, call: Call) -> Future[Any]:
        """Have a worker of some rank execute a call."""
        future: Future[Any] = Future()
        with self._change:
            if self._closed:
                raise UsageError("this executor is closed")
            self._waiting.append((future, call))
            self._change.notify_all()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with ``wait`` return when all are done."""
        with self._change:
            self._closed = True
            if cancel_futures:
                self._cancel_waiting()
            self._change.notify_all()
        if wait:
            self._thread.join()

    @property
    def stop_flag(self) -> StopFlag:
        """The request to stop that a signal to any rank sets."""
        return self.station.flag

    def ask_to_stop(self, reason: str) -> None:
        """Ask the calls under way on all ranks to end soon, and those to come."""
        self.station.tell_all(reason)
        self.station.ask_to_stop(reason)

    def stop(self) -> None:
        """End everything now: waiting calls are cancelled, calls under way fail with :class:`WorkerDied`."""
        with self._change:
            idle = self._idle()
        self.shutdown(wait=False, cancel_futures=True)
        # Ranks without work need not be told: they hear the end of the pool.
        if not idle:
            self.station.tell_all(END)
        self.station.stop()

    def _idle(self) -> bool:
        return not self._waiting and self._free_own == self._own and self._free_ranks == self._ranks

    def _cancel_waiting(self) -> None:
        while self._waiting:
            self._waiting.popleft()[0].cancel()

    def _dispatch(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(
                    lambda: (
                        (self._closed and self._idle()) or bool(self._waiting and (self._free_ranks or self._free_own))
                    ),
                    timeout=1.0,
                )
                if self._closed and self._idle():
                    return
                if self._bundle > 1 and not self._closed and len(self._waiting) < self._bundle:
                    self._change.wait(_GATHER_SECONDS)
                while self._waiting and (self._free_ranks or self._free_own):
                    self._send()

    def _send(self) -> None:
        """Hand out the next call or bundle; the lock is held."""
        remote = self._free_ranks > 0
        share = math.ceil(len(self._waiting) / self._free_ranks) if remote else 1
        batch: list[tuple[Future[Any], Call]] = []
        while self._waiting and len(batch) < (min(self._bundle, share) if remote else 1):
            future, call = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                batch.append((future, call))
        if not batch:
            return
        futures, calls = [future for future, _ in batch], [call for _, call in batch]
        inner: Future[Any]
        if remote and self._pool is not None:
            self._free_ranks -= 1
            self.messages += 1
            inner = self._pool.submit(perform_all, calls, self._log_folder)
            inner.add_done_callback(lambda done: self._returned(done, futures))
        else:
            self._free_own -= 1
            inner = self.station.submit(calls[0])
            inner.add_done_callback(lambda done: self._finished(done, futures[0]))

    def _returned(self, inner: Future[Any], futures: list[Future[Any]]) -> None:
        with self._change:
            self._free_ranks += 1
            self.messages += 1
            self._change.notify_all()
        error = inner.exception()
        for k, future in enumerate(futures):
            if error is not None:
                future.set_exception(error)
            else:
                settle(future, inner.result()[k])

    def _finished(self, inner: Future[Any], future: Future[Any]) -> None:
        with self._change:
            self._free_own += 1
            self._change.notify_all()
        settle(future, _answer(inner))


def perform_all(calls: list[Call], log_folder: str | None) -> list[Answer]:
    """Execute a bundle of calls on this rank; called by ``mpi4py.futures``."""
    station = Station.of_this_process()
    station.log_folder = Path(log_folder) if log_folder else None
    futures = [station.submit(call) for call in calls]
    wait(futures)
    return [_answer(future) for future in futures]


def _answer(done: Future[Any]) -> Answer:
    error = done.exception()
    return {"value": done.result()} if error is None else failure(error)
