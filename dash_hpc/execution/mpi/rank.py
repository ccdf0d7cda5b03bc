"""A rank's own part: its binding, its worker processes, and its line to the other ranks.

The line serves two purposes. A scheduler that wants the nodes back signals all ranks, some, or one; whoever is told
tells rank 0, which tells all, so that the ranks stop together. And every rank is heard every few seconds: when a node
is lost without a word, neither MPI nor, for a minute or more, Slurm says so, and the others would wait for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from dash_hpc.environment import seconds
from dash_hpc.errors import UsageError
from dash_hpc.execution.calls import Call
from dash_hpc.execution.local.executor import LocalExecutor
from dash_hpc.execution.machine.binding import Binding, Place, apply, bindings, describe, here, warnings_of
from dash_hpc.execution.machine.signals import process_flag

if TYPE_CHECKING:
    from mpi4py import MPI

__all__ = ["END", "Station", "library_name"]

END = ""
"""Said to a rank: kill your worker processes. Any other word is the reason of a request to stop."""
_SILENCE_SECONDS = 40.0
_BEAT = None
_BEAT_SECONDS = 5.0
_LOOK_SECONDS = 0.2
_TAG = 7


def silence_seconds() -> float:
    """Return how long a rank may be silent before it counts as lost: DASH_HPC_SILENCE_SECONDS, or 40.

    Runs take none of this time: they are in processes of their own.

    Raises
    ------
    UsageError
        When the variable is not a positive number.
    """
    return seconds("DASH_HPC_SILENCE_SECONDS", _SILENCE_SECONDS)


def library_name() -> str:
    """Return name and version of the MPI library, such as "MPICH Version: 5.0.2" or "Open MPI v5.0.11"."""
    from mpi4py import MPI

    return " ".join(MPI.Get_library_version().split(",")[0].splitlines()[0].strip("\0").split())


class Station:
    """What this rank needs to work for rank 0.

    Attributes
    ----------
    rank, size : int
    library : str
        Name and version of the MPI library.
    bindings : list of Binding
        Of all ranks.
    """

    _here: ClassVar[Station | None] = None

    def __init__(self, comm: MPI.Intracomm, places: list[Place], library: str, *, on_gpu: bool = False) -> None:
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.library = library
        self.places = places
        self.bindings: list[Binding] = bindings(places, on_gpu=on_gpu)
        self.binding = self.bindings[self.rank]
        self.log_folder: Path | None = None
        self.flag = process_flag()
        self._line = comm.Dup()
        self._local: LocalExecutor | None = None
        self._stopped = False
        self._lock = threading.Lock()
        self._told = False
        self._sent: list[Any] = []
        self._silence = silence_seconds()
        self._say_lock = threading.Lock()
        self._heard: dict[int, float] = {}
        self._lose: Callable[[str], None] = lambda message: None
        self._closing = threading.Event()
        self._listener = threading.Thread(target=self._listen, name="dash-hpc line", daemon=True)

    @classmethod
    def start(
        cls, comm: MPI.Intracomm, lose: Callable[[str], None] = lambda message: None, *, on_gpu: bool = False
    ) -> Station:
        """Exchange places, bind this rank and its future worker processes, and begin to listen. Collective.

        ``lose`` is called, from another thread, with a line that names a rank which fell silent; ``on_gpu`` as in
        :func:`bindings`.
        """
        from mpi4py import MPI

        station = cls(comm, comm.allgather(here(comm.Get_rank())), library_name(), on_gpu=on_gpu)
        apply(station.binding)
        station._lose = lose
        station.flag.install()
        # The launcher ends the job when it has waited long enough.
        station.flag.patient = True
        if MPI.Query_thread() >= MPI.THREAD_MULTIPLE and station.size > 1:
            station._listener.start()
        cls._here = station
        return station

    @classmethod
    def of_this_process(cls) -> Station:
        """Return the station of this rank."""
        if cls._here is None:
            raise UsageError("this process is no rank of an MPI job")
        return cls._here

    def lines(self) -> list[str]:
        """Return the binding of each rank, and warnings, as lines for the log."""
        return [*(describe(binding) for binding in self.bindings), *(f"warning: {w}" for w in warnings_of(self.places))]

    def submit(self, call: Call) -> Future[Any]:
        """Execute a call in a worker process of this rank."""
        with self._lock:
            if self._stopped:
                raise UsageError("this rank was stopped")
            if self._local is None:
                self._local = LocalExecutor(self.binding.threads, self.log_folder, name=f"worker-{self.rank}")
                if self.flag.is_set():
                    self._local.ask_to_stop(self.flag.reason)
            return self._local.send(call)

    def stop(self) -> None:
        """End this rank's worker processes now."""
        with self._lock:
            self._stopped = True
            local = self._local
        if local is not None:
            local.stop()

    def ask_to_stop(self, reason: str) -> None:
        """Ask this rank's worker processes to end their calls soon."""
        self.flag.set(reason)
        with self._lock:
            local = self._local
        if local is not None:
            local.ask_to_stop(reason)

    def tell_all(self, word: str) -> None:
        """Send ``word`` (a reason to stop, or END) from rank 0 to all other ranks."""
        if self._listener.is_alive():
            self._say(word, range(1, self.size))

    def _say(self, word: str | None, ranks: Iterable[int]) -> None:
        with self._say_lock:
            # A request must live until its message has gone.
            self._sent = [request for request in self._sent if not request.test()[0]]
            self._sent += [self._line.isend(word, dest=rank, tag=_TAG) for rank in ranks]

    def close(self) -> None:
        """End the worker processes and the listener."""
        self.stop()
        self._closing.set()
        if self._listener.is_alive():
            self._listener.join(5.0)

    def drain(self) -> None:
        """Take what was sent and not heard, which MPI would complain about at the end; after :meth:`close` of all."""
        while not self._listener.is_alive() and self._line.iprobe():
            self._line.recv()

    def _listen(self) -> None:
        from mpi4py import MPI

        status = MPI.Status()
        others = range(1, self.size) if self.rank == 0 else (0,)
        self._heard = dict.fromkeys(others, time.monotonic())
        next_beat, limit = 0.0, self._silence
        while not self._closing.wait(_LOOK_SECONDS):
            now = time.monotonic()
            if now >= next_beat:
                next_beat = now + min(_BEAT_SECONDS, limit / 5)
                self._say(_BEAT, others)
            # Rank 0's driver sees the flag itself, and then asks everybody.
            if self.rank and self.flag.is_set() and not self._told:
                self._told = True
                self._say(self.flag.reason, others)
                self.ask_to_stop(self.flag.reason)
            while self._line.iprobe(MPI.ANY_SOURCE, _TAG, status):
                word = self._line.recv(source=status.source, tag=_TAG)
                self._heard[status.source] = now
                if word is _BEAT:
                    continue
                if word == END:
                    self.stop()
                elif self.rank:
                    self._told = True
                    self.ask_to_stop(word)
                else:
                    self.flag.set(word)
            silent = [rank for rank, when in self._heard.items() if now - when > limit]
            if silent:
                names = ", ".join(f"rank {rank} on {self.bindings[rank].host}" for rank in silent)
                self._lose(f"{names}: not heard for {limit:g} s")
                return
