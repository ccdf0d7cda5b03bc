"""Runs spread over MPI ranks: how they start, work for rank 0 and end together.

Rank 0 drives, and works too; the other ranks are the workers of an ``MPICommExecutor``. Every rank hands its runs to
worker processes of its own (:class:`LocalExecutor`), so that a run which crashes takes neither the rank nor the job
with it, and a rank always hears what the others say. A call costs two messages. An exception that nothing catches
ends the job through ``MPI_Abort``, and every wait of the ranks for each other has a limit.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING, Any, TypeVar, cast

from dash_hpc.errors import DashHpcError, UsageError
from dash_hpc.execution.mpi.executor import MPIExecutor
from dash_hpc.execution.mpi.host import HostUnfit, check_host, check_launcher, first_of_host, under_launcher
from dash_hpc.execution.mpi.launch import check_family, check_world, promise
from dash_hpc.execution.mpi.rank import Station, library_name
from dash_hpc.shown import shown_block

if TYPE_CHECKING:
    from mpi4py import MPI
    from mpi4py.futures import MPIPoolExecutor

__all__ = ["Refused", "aborting", "limit", "mpi_session", "start_ranks"]

START_SECONDS = 60.0
"""Limit for all ranks to start and find each other."""
END_SECONDS = 20.0
"""Limit for all ranks to end after the driver."""
REFUSAL_SECONDS = 10.0
"""How long the silent ranks of a refused start wait for the one that says why."""
HOST_SECONDS = 2.0
"""The same where the reason is the host's, which all its ranks find out at the same time."""

# How often mpi4py.futures looks for messages: runs take seconds to hours, and polling takes cores from them.
_POLL_SECONDS = 0.005
_LAST_WORDS_SECONDS = 0.5
_END = "waiting for the other ranks to end"
Result = TypeVar("Result")


class Refused(SystemExit):
    """Leave without a word: rank 0 says what is wrong, once for all."""


def mpi_session(
    body: Callable[[MPIExecutor], Result],
    *,
    announce: Callable[[str], None] | None = None,
    on_gpu: bool = False,
) -> Result | None:
    """Start MPI, call ``body(executor)`` on rank 0 while the other ranks work for it, and end together.

    Parameters
    ----------
    body : callable
        Runs on rank 0 only.
    announce : callable, optional
        Called on rank 0 with each line about the ranks and their binding.
    on_gpu : bool, default False
        Calls are packs of runs for a GPU: a rank that has one gets one call at a time. The same on all ranks.

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
    comm, station = start_ranks(on_gpu=on_gpu)
    rank = station.rank
    if rank == 0 and announce is not None:
        announce(f"{station.size} ranks, {station.library}, ready in {time.monotonic() - began:.1f} s")
    with aborting(rank):
        return _together(comm, station, body)


def start_ranks(*, on_gpu: bool = False) -> tuple[MPI.Intracomm, Station]:
    """Start MPI, compare the world with the launcher's promise, and bind the ranks; all ranks, within a limit.

    Raises as :func:`mpi_session` does.
    """
    with limit(START_SECONDS, "starting MPI and finding the other ranks"):
        comm = _world()
        with aborting(comm.Get_rank()):
            return comm, Station.start(comm, _lose, on_gpu=on_gpu)


def _together(comm: MPI.Intracomm, station: Station, body: Callable[[MPIExecutor], Result]) -> Result | None:
    from mpi4py.futures import MPICommExecutor

    result: Result | None = None
    leaving: BaseException | None = None
    ending: threading.Timer | None = None
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
                # The pool waits for the other ranks when it is left.
                ending = _start_limit(END_SECONDS, _END, _code_of(leaving))
    ending = ending or _start_limit(END_SECONDS, _END, 0)
    station.close()
    comm.Barrier()
    station.drain()
    ending.cancel()
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
        import mpi4py

        # Which library this is must be known before it starts: what does not fit the launcher ends there.
        mpi4py.rc.initialize = False
        mpi4py.rc.finalize = True
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        problem = UsageError(
            f"MPI cannot be used ({reason}); install it with: pip install 'dash-hpc[mpi]' (pip's MPICH), or mpi4py "
            f"with your site's MPI"
        )
    else:
        try:
            check_family(made, library_name())
            check_launcher(made)
            check_host(library_name())
            if not MPI.Is_initialized():
                MPI.Init_thread(MPI.THREAD_MULTIPLE)
                atexit.register(_finalize)
            check_world(MPI.COMM_WORLD.Get_size(), made, library_name())
            return MPI.COMM_WORLD
        except UsageError as error:
            problem = error
    # Of a host that is unfit its first rank speaks, of the rest rank 0, or all where nobody has started them.
    host = isinstance(problem, HostUnfit)
    if made is not None and under_launcher() and not (first_of_host() if host else made.rank == 0):
        # A launcher may end all ranks as soon as one fails: the one that speaks must be first.
        time.sleep(HOST_SECONDS if host else REFUSAL_SECONDS)
        raise Refused(problem.exit_code)
    # And a launcher may drop what a rank wrote just before its end.
    atexit.register(time.sleep, _LAST_WORDS_SECONDS)
    raise problem


def _finalize() -> None:
    """End MPI while Python still lives: mpi4py does it when no thread is left that could limit the wait."""
    from mpi4py import MPI

    if MPI.Is_initialized() and not MPI.Is_finalized():
        with limit(END_SECONDS, "ending MPI"):
            MPI.Finalize()


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
    timer = _start_limit(seconds, what, 3)
    try:
        yield
    finally:
        timer.cancel()


def _start_limit(seconds: float, what: str, code: int) -> threading.Timer:
    message = f"dash-hpc: {what} took longer than {seconds:g} s; the job is ended, and the same command resumes it"
    timer = threading.Timer(seconds, _abort, (message, code))
    timer.daemon = True
    timer.start()
    return timer


def _lose(what: str) -> None:
    _abort(f"dash-hpc: {what}; the job is ended, and the same command resumes it", 3)


def _abort(message: str, code: int) -> None:
    with suppress(OSError):
        sys.stderr.write(f"{shown_block(message.rstrip())}\n")
        sys.stderr.flush()
    module: Any = sys.modules.get("mpi4py.MPI")
    if module is not None and module.Is_initialized() and not module.Is_finalized():
        # Abort itself may hang when the launcher is gone.
        threading.Timer(5.0, os._exit, (code,)).start()
        # MPICH's launcher drops what a rank wrote just before its end: the message must be through by then.
        time.sleep(_LAST_WORDS_SECONDS)
        module.COMM_WORLD.Abort(code)
    os._exit(code)


def _code_of(error: BaseException | None) -> int:
    if isinstance(error, DashHpcError):
        return error.exit_code
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return error.code
    return 0
