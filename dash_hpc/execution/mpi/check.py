"""A two-second look at the ranks of a launch, before it costs node-hours."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dash_hpc.errors import DashHpcError
from dash_hpc.execution.machine.binding import describe, warnings_of
from dash_hpc.execution.mpi.session import aborting, limit, start_ranks
from dash_hpc.store import publish_bytes

if TYPE_CHECKING:
    from mpi4py import MPI

__all__ = ["check_ranks"]

LIMIT_SECONDS = 30.0
# Network file systems show a new file of another host after a while.
_SHOW_SECONDS = 5.0
_REPLACE_SECONDS = 0.3
_BYTES = 1 << 15
_LARGEST_OFFSET = 1.0
_LITTLE_ROOM = 1 << 30


def check_ranks(folder: Path) -> dict[str, Any] | None:
    """Check ranks, binding, and ``folder`` (existing) from every rank. Collective.

    Returns
    -------
    dict or None
        On rank 0: ``library``, ``hosts``, ``ranks`` (host, binding, free bytes, clock offset to rank 0 in seconds),
        ``warnings``, ``problems``, ``seconds``. None elsewhere.

    Raises
    ------
    UsageError
        When the world is not what the launcher promised.
    """
    began = time.monotonic()
    comm, station = start_ranks()
    with limit(LIMIT_SECONDS, "the check of the ranks"), aborting(station.rank):
        token = comm.bcast(secrets.token_hex(4))
        offset = _clock_offset(comm)
        problems, free = _look(comm, folder, token)
        reports = comm.gather(
            {
                "rank": station.rank,
                "host": station.binding.host,
                "binding": describe(station.binding),
                "free_bytes": free,
                "clock_offset": offset,
                "problems": problems,
            }
        )
        station.close()
        comm.Barrier()
    if reports is None:
        return None
    found = [f"rank {report['rank']} on {report['host']}: {text}" for report in reports for text in report["problems"]]
    warnings = warnings_of(station.places)
    for report in reports:
        if abs(report["clock_offset"]) > _LARGEST_OFFSET:
            warnings.append(f"the clock of {report['host']} is {report['clock_offset']:+.1f} s off that of rank 0")
    return {
        "library": station.library,
        "hosts": len({report["host"] for report in reports}),
        "ranks": [{key: value for key, value in report.items() if key != "problems"} for report in reports],
        "warnings": list(dict.fromkeys(warnings)),
        "problems": found,
        "seconds": time.monotonic() - began,
    }


def _clock_offset(comm: MPI.Intracomm) -> float:
    """Return this rank's clock minus that of rank 0; half the round trip is the uncertainty."""
    rank, offset = comm.Get_rank(), 0.0
    for other in range(1, comm.Get_size()):
        if rank == 0:
            for _ in range(3):
                comm.recv(source=other)
                comm.send(time.time(), dest=other)
        elif rank == other:
            best = float("inf")
            for _ in range(3):
                sent = time.time()
                comm.send(None, dest=0)
                zero = comm.recv(source=0)
                received = time.time()
                if received - sent < best:
                    best, offset = received - sent, (sent + received) / 2 - zero
    return offset


def _look(comm: MPI.Intracomm, folder: Path, token: str) -> tuple[list[str], int]:
    rank, size = comm.Get_rank(), comm.Get_size()
    problems: list[str] = []
    free = 0
    names = [folder / f".tmp-check-{token}-{k}" for k in range(size)]
    try:
        free = shutil.disk_usage(folder).free
        if free < _LITTLE_ROOM:
            problems.append(f"{folder}: only {free / 2**20:.0f} MiB free")
        publish_bytes(names[rank], _content(rank))
    except OSError as error:
        problems.append(f"{folder}: {error.strerror}; name a folder that all ranks can write to")
    except DashHpcError as error:
        problems.append(str(error))
    # Without its own file a rank need not look for those of the others; all must know.
    broken = any(comm.allgather(bool(problems)))
    end = time.monotonic() + _SHOW_SECONDS
    unseen = [k for k in range(size) if not broken and not _seen(names[k], k)]
    while unseen and time.monotonic() < end:
        time.sleep(0.1)
        os.listdir(folder if folder.is_dir() else ".")
        unseen = [k for k in unseen if not _seen(names[k], k)]
    if unseen:
        problems.append(f"{folder}: files of rank {', '.join(map(str, unseen))} do not show; the folder is not shared")
    comm.Barrier()
    if not any(comm.allgather(bool(problems))):
        problems += _replace_or_watch(comm, names[0])
    comm.Barrier()
    with suppress(OSError):
        names[rank].unlink()
    return problems, free


def _replace_or_watch(comm: MPI.Intracomm, path: Path) -> list[str]:
    """Rank 0 replaces a file again and again; the others must see one of its versions whole each time."""
    end = time.monotonic() + _REPLACE_SECONDS
    k = 0
    while time.monotonic() < end:
        if comm.Get_rank() == 0:
            k += 1
            publish_bytes(path, _content(k))
            continue
        try:
            data = path.read_bytes()
        except OSError as error:
            # ESTALE: the file was replaced between opening and reading, which no reader takes for content.
            if error.errno != 116:
                return [
                    f"{path.parent}: a file vanished while it was replaced ({error.strerror}); rename is not atomic"
                ]
            continue
        if len(data) != _BYTES or len(set(data)) != 1:
            return [f"{path.parent}: half a file showed while it was replaced; rename is not atomic there"]
    return []


def _content(k: int) -> bytes:
    return bytes([k % 256]) * _BYTES


def _seen(path: Path, k: int) -> bool:
    try:
        return path.read_bytes() == _content(k)
    except OSError:
        return False
