"""How many runs share a worker's time, and on which device."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dash_hpc.errors import UsageError
from dash_hpc.execution.local.executor import LocalExecutor
from dash_hpc.execution.machine.binding import visible_gpus
from dash_hpc.execution.threads import available_cores
from dash_hpc.execution.work.many_runs import look_at_device
from dash_hpc.models.registry import family_of_spec
from dash_hpc.ops.cuda import parse_device

if TYPE_CHECKING:
    from dash_hpc.execution.mpi.executor import MPIExecutor

__all__ = ["MOST", "Choice", "Packing", "check_wishes", "choose_packing", "run_bytes"]

#: Runs of a pack on a GPU where memory sets no lower limit: about two for each multiprocessor of a large GPU.
MOST = 256
#: Arrays of a model's size that a run keeps: weights, moments, gradients, masks, the kept model, compressed forms.
_COPIES = 8


@dataclass(frozen=True)
class Packing:
    """How runs are handed to workers.

    Attributes
    ----------
    size : int
        Most runs that advance together in one worker.
    device : str
        As :func:`dash_hpc.ops.cuda.choose_device` takes it, in the worker.
    threads : int
        Of the CPU, for a pack.
    """

    size: int = 1
    device: str = "cpu"
    threads: int = 1

    @property
    def plain(self) -> bool:
        """Whether each run is worked on alone, by the CPU."""
        return self.size == 1 and self.device == "cpu"

    def packs(self, run_ids: Sequence[str], workers: int) -> list[tuple[str, ...]]:
        """Cut runs into packs of nearly equal size, in their order, so that all workers have work.

        Neighbours have one strategy, mostly one shape, so that the runs of a pack take about the same time.
        """
        if not run_ids:
            return []
        count = self.count(len(run_ids), workers)
        ends = [len(run_ids) * k // count for k in range(count + 1)]
        return [tuple(run_ids[a:b]) for a, b in pairwise(ends)]

    def count(self, runs: int, workers: int) -> int:
        """Return the number of packs that so many runs are cut into."""
        size = max(1, min(self.size, math.ceil(runs / workers)))
        return math.ceil(runs / size)


@dataclass(frozen=True)
class Choice:
    """What :func:`choose_packing` found.

    Attributes
    ----------
    packing : Packing
    workers : int
        Packs at a time.
    gpus : tuple of str
        For the workers of this machine in turn, as CUDA_VISIBLE_DEVICES takes them; empty: as it is.
    line : str
        What to tell; "" for the CPU by default.
    """

    packing: Packing
    workers: int
    gpus: tuple[str, ...] = ()
    line: str = ""


def check_wishes(device: str, pack: int | None, *, ranks: bool = False) -> None:
    """Refuse what cannot be meant, before anything starts.

    Raises
    ------
    UsageError
        For an unknown device, a pack below 1, or the number of a GPU where MPI ranks take GPUs in turn.
    """
    parse_device(device)
    if pack is not None and (isinstance(pack, bool) or not isinstance(pack, int) or pack < 1):
        raise UsageError(f"pack must be 1 or more, got {pack!r}")
    if ranks and ":" in device:
        raise UsageError(f"device {device}: MPI ranks take the GPUs of their host in turn; say cuda or auto")


def choose_packing(
    device: str,
    pack: int | None,
    workers: int | None,
    *,
    genes: int,
    spec: Mapping[str, Any],
    executor: MPIExecutor | None = None,
) -> Choice:
    """Decide what the wishes come to on this machine, or on the ranks of ``executor``.

    One worker for each core on the CPU, for each GPU otherwise; more workers than GPUs share them in turn. A pack is 1
    on the CPU, and on a GPU up to 256, less where the runs would take more than half of the free memory of the GPU or
    the host.

    Parameters
    ----------
    device : str
        "cpu", "cuda" (all GPUs that are visible), "cuda:<number>" (that one), "auto" (the GPUs, or the CPU).
    pack, workers : int, optional
    genes : int
    spec : mapping
        Of the largest run.
    executor : MPIExecutor, optional

    Raises
    ------
    UsageError, GpuUnavailable, GpuMemoryError, GpuFault
        When a GPU was asked for by name and cannot be used.
    """
    check_wishes(device, pack, ranks=executor is not None)
    asked = executor.workers if executor is not None else workers
    if device == "cpu":
        return Choice(Packing(pack or 1), asked or available_cores())
    # In a process of its own: a driver that opened the GPU would keep memory of it.
    if executor is not None:
        found = executor.submit(look_at_device, device).result()
    else:
        with LocalExecutor(1) as look:
            found = look.submit(look_at_device, device).result()
    line = f"device: {found['line']}"
    if not found["gpu"]:
        # Ranks may differ: each looks for itself.
        where = "cpu" if executor is None else device
        return Choice(Packing(pack or 1, where), asked or available_cores(), (), line)
    several = found["count"] > 1 and ":" not in device and executor is None
    gpus = _names(found["count"]) if several else ()
    workers = asked or max(1, len(gpus))
    if pack is None:
        each = run_bytes(spec, genes)
        on_gpu, on_host = math.ceil(workers / max(1, len(gpus))), workers
        if executor is not None:
            ranks = executor.station.bindings
            on_gpu = max(Counter((rank.host, rank.gpu) for rank in ranks).values())
            on_host = max(Counter(rank.host for rank in ranks).values())
        rooms = (found["free_bytes"] // (2 * on_gpu), _free_host_bytes() // (2 * on_host))
        pack = max(1, min(MOST, *(room // each for room in rooms)))
    threads = 1 if executor is not None else max(1, available_cores() // workers)
    return Choice(Packing(pack, device, threads), workers, gpus, line)


def run_bytes(spec: Mapping[str, Any], genes: int) -> int:
    """Return about how much memory one run more takes, on the host as on a GPU."""
    return _COPIES * family_of_spec(spec["model"]).bytes(spec["model"], genes)


def _names(count: int) -> tuple[str, ...]:
    named = visible_gpus(os.environ) if "CUDA_VISIBLE_DEVICES" in os.environ else ()
    return named[:count] if len(named) >= count else tuple(str(k) for k in range(count))


def _free_host_bytes() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 1 << 62  # not known here: no limit
