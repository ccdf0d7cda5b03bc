"""Runs spread over MPI ranks: an executor over ``mpi4py.futures``.

Rank 0 drives, and works too; the other ranks are the workers of an ``MPICommExecutor``. Every rank hands its runs to
worker processes of its own (:class:`LocalExecutor`), so that a run which crashes takes neither the rank nor the job
with it, and a rank always hears what the others say. A call costs two messages. An exception that nothing catches
ends the job through ``MPI_Abort``, and every wait of the ranks for each other has a limit.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from dash_hpc import errors
from dash_hpc.errors import DashHpcError, RunFailed, UsageError
from dash_hpc.execution.mpi_launch import check_world, promise
from dash_hpc.execution.mpi_station import END, Station, library_name
from dash_hpc.execution.signals import StopFlag
from dash_hpc.store import publish_json

if TYPE_CHECKING:
    from mpi4py import MPI
    from mpi4py.futures import MPIPoolExecutor

__all__ = ["MPIExecutor", "Refused", "aborting", "limit", "mpi_session", "start_ranks"]

START_SECONDS = 60.0
"""Limit for all ranks to start and find each other."""
END_SECONDS = 20.0
"""Limit for all ranks to end after the driver."""

# How often mpi4py.futures looks for messages: runs take seconds to hours, and polling takes cores from them.
_POLL_SECONDS = 0.002
# So long the dispatcher waits for further calls before it sends a pack that is not full.
_GATHER_SECONDS = 0.005
Result = TypeVar("Result")
Call = tuple[str, str, tuple[Any, ...]]
"""Module, name, arguments."""


class Refused(SystemExit):
    """Leave without a word: rank 0 says what is wrong, once for all."""


class MPIExecutor(Executor):
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
        # The pool chooses the rank, so that a pack must fit them all.
        self._pack = min(threads[1:], default=1)
        self._ranks = len(threads) - 1
        self.workers = self._own + self._pack * self._ranks
        self._waiting: deque[tuple[Future[Any], Call]] = deque()
        self._change = threading.Condition()
        self._free_own, self._free_ranks = self._own, self._ranks
        self._closed = False
        self._log_folder: str | None = None
        self._thread = threading.Thread(target=self._dispatch, name="dash-hpc dispatch", daemon=True)
        self._thread.start()

    def begin(self, log_folder: Path) -> list[str]:
        """Store the ranks as ``ranks.json`` in an existing folder, where workers then log; return them as text.

        Raises
        ------
        StoreError
            When the folder cannot be written.
        """
        self._log_folder = str(log_folder)
        self.station.log_folder = log_folder
        ranks = [binding.to_dict() for binding in self.station.bindings]
        publish_json(log_folder / "ranks.json", {"library": self.station.library, "ranks": ranks})
        return self.station.lines()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call ``fn(*args)`` on some rank; what it may be and what comes back is as in :class:`LocalExecutor`."""
        if kwargs:
            raise UsageError("a worker takes positional arguments only")
        if "<" in fn.__qualname__ or "." in fn.__qualname__:
            raise UsageError(f"{fn.__qualname__} is not a module-level function, so a worker cannot import it")
        future: Future[Any] = Future()
        with self._change:
            if self._closed:
                raise UsageError("this executor is closed")
            self._waiting.append((future, (fn.__module__, fn.__qualname__, args)))
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
                if self._pack > 1 and not self._closed and len(self._waiting) < self._pack:
                    self._change.wait(_GATHER_SECONDS)
                while self._waiting and (self._free_ranks or self._free_own):
                    self._send()

    def _send(self) -> None:
        """Hand out the next call or pack; the lock is held."""
        remote = self._free_ranks > 0
        share = math.ceil(len(self._waiting) / self._free_ranks) if remote else 1
        batch: list[tuple[Future[Any], Call]] = []
        while self._waiting and len(batch) < (min(self._pack, share) if remote else 1):
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
            inner = self._pool.submit(perform, calls, self._log_folder)
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
            _settle(future, {"raised": error} if error is not None else inner.result()[k])

    def _finished(self, inner: Future[Any], future: Future[Any]) -> None:
        with self._change:
            self._free_own += 1
            self._change.notify_all()
        error = inner.exception()
        _settle(future, {"raised": error} if error is not None else {"value": inner.result()})


def perform(calls: list[Call], log_folder: str | None) -> list[dict[str, Any]]:
    """Execute a pack of calls on this rank; called by ``mpi4py.futures``."""
    station = Station.of_this_process()
    station.log_folder = Path(log_folder) if log_folder else None
    futures = [station.submit(call) for call in calls]
    wait(futures)
    answers: list[dict[str, Any]] = []
    for future in futures:
        error = future.exception()
        if error is None:
            answers.append({"value": future.result()})
        else:
            answers.append({"error": type(error).__name__, "message": " ".join(str(error).split())})
    return answers


def _settle(future: Future[Any], answer: dict[str, Any]) -> None:
    if "value" in answer:
        future.set_result(answer["value"])
    elif "raised" in answer:
        future.set_exception(answer["raised"])
    else:
        kind = getattr(errors, answer["error"], None)
        if isinstance(kind, type) and issubclass(kind, DashHpcError):
            future.set_exception(kind(answer["message"]))
        else:
            future.set_exception(RunFailed(f"{answer['error']}: {answer['message']}"))


def mpi_session(
    body: Callable[[MPIExecutor], Result], *, announce: Callable[[str], None] | None = None
) -> Result | None:
    """Start MPI, call ``body(executor)`` on rank 0 while the other ranks work for it, and end together.

    Parameters
    ----------
    body : callable
        Runs on rank 0 only.
    announce : callable, optional
        Called on rank 0 with each line about the ranks and their binding.

    Returns
    -------
    object
        What ``body`` returns; None on the other ranks.

    Raises
    ------
    UsageError
        When mpi4py is missing, or the size of the world is not what the launcher promised; on rank 0 of the launcher,
        the other processes leave silently with its exit code.
    Exception
        A :class:`DashHpcError` or SystemExit of ``body``, on rank 0, after the ranks have ended in order. Any other
        exception on any rank is printed there and ends the whole job at once.
    """
    began = time.monotonic()
    comm, station = start_ranks()
    rank = station.rank
    if rank == 0 and announce is not None:
        announce(f"{station.size} ranks, {station.library}, ready in {time.monotonic() - began:.1f} s")
    with aborting(rank):
        return _together(comm, station, body)


def start_ranks() -> tuple[MPI.Intracomm, Station]:
    """Start MPI, compare the world with the launcher's promise, and bind the ranks; all ranks, within a limit.

    Raises as :func:`mpi_session` does.
    """
    with limit(START_SECONDS, "starting MPI and finding the other ranks"):
        comm = _world()
        with aborting(comm.Get_rank()):
            return comm, Station.start(comm, _lose)


def _together(comm: MPI.Intracomm, station: Station, body: Callable[[MPIExecutor], Result]) -> Result | None:
    from mpi4py.futures import MPICommExecutor

    result: Result | None = None
    leaving: BaseException | None = None
    if station.size == 1:
        with _executor(None, station) as executor:
            return body(executor)
    with MPICommExecutor(comm, root=0, backoff=_POLL_SECONDS) as pool:
        if pool is not None:
            with _executor(cast("MPIPoolExecutor", pool), station) as executor:
                try:
                    result = body(executor)
                except (DashHpcError, SystemExit) as error:
                    leaving = error
                _limit_until_exit(END_SECONDS, "waiting for the other ranks to end", _code_of(leaving))
    station.close()
    comm.Barrier()
    station.drain()
    if leaving is not None:
        raise leaving
    return result


@contextmanager
def _executor(pool: MPIPoolExecutor | None, station: Station) -> Iterator[MPIExecutor]:
    executor = MPIExecutor(pool, station, [binding.threads for binding in station.bindings])
    try:
        yield executor
    finally:
        executor.stop()


def _world() -> MPI.Intracomm:
    made = promise()
    _prepare_environment()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        problem = UsageError(
            f"MPI cannot be used ({reason}); install it with: pip install 'dash-hpc[mpi]' (pip's MPICH), or mpi4py "
            f"with your site's MPI"
        )
    else:
        try:
            check_world(MPI.COMM_WORLD.Get_size(), made, library_name())
            return MPI.COMM_WORLD
        except UsageError as error:
            problem = error
    if made is not None and made.rank != 0:
        raise Refused(problem.exit_code)
    raise problem


def _prepare_environment() -> None:
    """Let pip's MPICH talk through libfabric unless somebody chose otherwise.

    Its other half, UCX, exchanges addresses at the start that Slurm's pmi2 often cuts when one rank is on each node
    (MPICH 5.0.2, Slurm 22.05): the job aborts or hangs. A site's own MPICH may lack libfabric and is left alone.
    """
    with suppress(PackageNotFoundError):
        distribution("mpich")
        os.environ.setdefault("MPIR_CVAR_CH4_NETMOD", "ofi")


@contextmanager
def aborting(rank: int) -> Iterator[None]:
    """End the whole job on an exception that nobody expects: a hang costs more node-hours than a crash."""
    try:
        yield
    except (DashHpcError, SystemExit):
        raise
    except BaseException as error:
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        _abort(f"dash-hpc: rank {rank} ended the job:\n{text}", 3 if isinstance(error, KeyboardInterrupt) else 1)


@contextmanager
def limit(seconds: float, what: str) -> Iterator[None]:
    """End the whole job when the body takes longer."""
    timer = _limit_until_exit(seconds, what, 3)
    try:
        yield
    finally:
        timer.cancel()


def _limit_until_exit(seconds: float, what: str, code: int) -> threading.Timer:
    message = f"dash-hpc: {what} took longer than {seconds:g} s; the job is ended, and the same command resumes it\n"
    timer = threading.Timer(seconds, _abort, (message, code))
    timer.daemon = True
    timer.start()
    return timer


def _lose(what: str) -> None:
    _abort(f"dash-hpc: {what}; the job is ended, and the same command resumes it\n", 3)


def _abort(message: str, code: int) -> None:
    with suppress(OSError):
        sys.stderr.write(message)
        sys.stderr.flush()
    module: Any = sys.modules.get("mpi4py.MPI")
    if module is not None and module.Is_initialized() and not module.Is_finalized():
        # Abort itself may hang when the launcher is gone.
        threading.Timer(5.0, os._exit, (code,)).start()
        # MPICH's launcher drops what a rank wrote just before its end: the message must be through by then.
        time.sleep(0.5)
        module.COMM_WORLD.Abort(code)
    os._exit(code)


def _code_of(error: BaseException | None) -> int:
    if isinstance(error, DashHpcError):
        return error.exit_code
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return error.code
    return 0
