"""What MPI needs of this host and its launcher, looked at before MPI is: it ends a process with pages about itself.

Seen with MPICH 5.0.2: without a loopback interface ranks hang or abort, and where ``/dev/shm`` has less than 1.02 MiB
for each rank of the host they die of SIGBUS. With a launcher that is gone it aborts (Open MPI 5.0.11: by a
segmentation fault).
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from dash_hpc.errors import UsageError
from dash_hpc.execution.mpi.launch import Promise, left_over

__all__ = ["HostUnfit", "check_host", "check_launcher", "first_of_host", "under_launcher"]

SHARED_MEMORY = Path("/dev/shm")
_BYTES_PER_RANK = 5 << 18
_CONNECT_SECONDS = 2.0
_JUST_SECONDS = 60.0
_LAUNCHERS = re.compile(
    r"slurmstepd|hydra_pmi_proxy|pmi_proxy|mpiexec.*|mpirun.*|prterun|prted|orted|orterun|flux-shell|palsd"
)
_GONE = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL}


class HostUnfit(UsageError):
    """MPI cannot work on this host; on others it may."""


def under_launcher() -> bool:
    """Return whether a known launcher is an ancestor of this process."""
    pid = os.getppid()
    while pid > 1:
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        # "pid (name) state ppid …"; the name may hold brackets and spaces
        name, _, rest = text.partition("(")[2].rpartition(")")
        if _LAUNCHERS.fullmatch(name):
            return True
        pid = int(rest.split()[1])
    return False


def check_launcher(made: Promise | None, environ: Mapping[str, str] | None = None) -> None:
    """Refuse variables of a launcher that is gone, where that is certain.

    Raises
    ------
    UsageError
        With the variables to unset.
    """
    environ = os.environ if environ is None else environ
    if made is None:
        return
    gone = False
    if made.variable == "PMI_SIZE" and "PMI_FD" in environ:
        gone = not _is_socket(environ["PMI_FD"])
    elif not under_launcher():
        # Whoever has no known launcher above it is asked to knock at the door that it was told.
        doors = list(_doors(made, environ))
        gone = bool(doors) and not any(_answers(host, port) for host, port in doors)
    if gone:
        raise UsageError(
            f"{made.variable}={made.size} promises {made.size} ranks of {made.launcher}, but that launcher is gone; "
            f"{left_over(made, environ)}"
        )


def check_host(library: str, environ: Mapping[str, str] | None = None) -> None:
    """Refuse a host on which ranks of MPICH cannot talk to each other.

    Raises
    ------
    HostUnfit
        With what is missing and how to get it.
    """
    environ = os.environ if environ is None else environ
    if not library.startswith("MPICH"):
        return
    here = socket.gethostname()
    if (reason := _loopback_fault()) is not None:
        raise HostUnfit(
            f"{here}: MPI needs the loopback interface, which does not work ({reason}); bring it up with "
            "ip link set lo up, or start the container with a network"
        )
    ranks = _local_ranks(environ)
    need = ranks * _BYTES_PER_RANK
    try:
        usage = os.statvfs(SHARED_MEMORY)
        # A rank that comes late may find that the first has taken what all will use.
        free = usage.f_bavail * usage.f_frsize + _just_taken()
        if usage.f_flag & os.ST_RDONLY or not os.access(SHARED_MEMORY, os.W_OK):
            raise OSError(errno.EROFS, "it is not writable")
    except OSError as error:
        raise HostUnfit(
            f"{here}: {SHARED_MEMORY}, in which MPI's ranks meet, cannot be used ({error.strerror}); mount it "
            "(tmpfs, mode 1777), or show it to the container"
        ) from error
    if free < need:
        raise HostUnfit(
            f"{here}: {SHARED_MEMORY} has {free / 2**20:.1f} MiB free, and {ranks} rank{'s' * (ranks > 1)} of MPI need "
            f"{need / 2**20:.1f}; make it larger (docker run --shm-size=1g; mount -o remount,size=1g {SHARED_MEMORY}), "
            "or remove what lies there"
        )


def first_of_host(environ: Mapping[str, str] | None = None) -> bool:
    """Return whether the launcher says that this is the first rank of its host; so does one that says nothing."""
    environ = os.environ if environ is None else environ
    names = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")
    return next((environ[name] for name in names if environ.get(name)), "0") == "0"


def _is_socket(text: str) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(int(text)).st_mode)
    except (OSError, ValueError, OverflowError):
        return False


def _doors(made: Promise, environ: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Give host and port of each server that the launcher left the address of."""
    for name, value in environ.items():
        if made.variable == "PMI_SIZE" and name == "PMI_PORT":
            match = re.fullmatch(r"(\S+):([0-9]{1,5})", value)
        elif made.variable.startswith("OMPI_") and name.startswith("PMIX_SERVER_URI"):
            match = re.search(r"tcp4://([0-9.]+):([0-9]{1,5})", value)
        else:
            continue
        if match is not None and int(match[2]) < 65536:
            yield match[1], int(match[2])


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except socket.gaierror:
        return False
    except OSError as error:
        return error.errno not in _GONE
    return True


def _loopback_fault() -> str | None:
    try:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen(1)
            socket.create_connection(server.getsockname(), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _just_taken() -> int:
    """Return the bytes of MPICH's segments that came in the last minute."""
    taken, now = 0, time.time()
    for path in SHARED_MEMORY.glob("mpich_shm_*"):
        with suppress(OSError):
            facts = path.stat()
            taken += 512 * facts.st_blocks if now - facts.st_mtime < _JUST_SECONDS else 0
    return taken


def _local_ranks(environ: Mapping[str, str]) -> int:
    """Return how many ranks this host has, as far as the launcher says; of several hosts the largest number."""
    size = environ.get("MPI_LOCALNRANKS", "")
    if not size:
        sizes = re.findall(r"([0-9]{1,6})(?:\(x[0-9]+\))?", environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
        size = max(sizes, key=int, default="1")
    return int(size) if re.fullmatch(r"[0-9]{1,6}", size) else 1
