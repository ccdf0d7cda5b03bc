"""Which cores and which GPU a rank works on.

Ranks of one host share its cores evenly, in the order of their numbers, unless the launcher has bound them already or
Slurm, or a CPU quota, granted only a part of a host without saying which part. Ranks take GPUs in turn.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dash_hpc.execution.cgroup import quota_cores

__all__ = ["Binding", "Place", "apply", "bindings", "describe", "here", "visible_gpus", "warnings_of"]


@dataclass(frozen=True)
class Place:
    """Where a rank finds itself: host, process, the cores it may use, the cores granted per host, GPUs it sees."""

    rank: int
    host: str
    pid: int
    cores: tuple[int, ...]
    granted: int
    gpus: tuple[str, ...]


@dataclass(frozen=True)
class Binding:
    """What a rank gets. ``threads`` is how many runs, or packs of runs, it executes at a time, one thread each."""

    rank: int
    host: str
    pid: int
    local_rank: int
    local_size: int
    cores: tuple[int, ...]
    threads: int
    bound_by: str
    gpu: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return {**asdict(self), "cores": list(self.cores)}


def here(rank: int, environ: Mapping[str, str] | None = None) -> Place:
    """Look at this process."""
    environ = os.environ if environ is None else environ
    if hasattr(os, "sched_getaffinity"):
        cores = tuple(sorted(os.sched_getaffinity(0)))
    else:
        cores = tuple(range(os.cpu_count() or 1))
    slurm = environ.get("SLURM_CPUS_ON_NODE", "")
    granted = int(slurm) if slurm.isascii() and slurm.isdigit() else len(cores)
    return Place(
        rank=rank,
        host=socket.gethostname(),
        pid=os.getpid(),
        cores=cores,
        granted=min(granted, quota_cores() or granted),
        gpus=visible_gpus(environ),
    )


def bindings(places: Sequence[Place], *, on_gpu: bool = False) -> list[Binding]:
    """Share out cores and GPUs; one binding per place, in the same order.

    ``on_gpu``: runs go to the GPU, so that a rank which has one gets one call at a time, of many runs.
    """
    by_host: dict[str, list[Place]] = {}
    for place in sorted(places, key=lambda place: place.rank):
        by_host.setdefault(place.host, []).append(place)
    result = {}
    for host, group in by_host.items():
        unbound = len(group) > 1 and all(place.cores == group[0].cores for place in group)
        for local_rank, place in enumerate(group):
            available = min(len(place.cores), place.granted)
            cores, bound_by = place.cores, "launcher" if len(group) > 1 else "nobody"
            threads = max(1, min(len(place.cores), place.granted // len(group)))
            if unbound:
                threads = max(1, available // len(group))
                bound_by = "nobody"
                # A part of a host that is not named must not be guessed: two jobs would take the same cores.
                if place.granted >= len(place.cores):
                    first = local_rank * threads % len(place.cores)
                    cores, bound_by = place.cores[first : first + threads], "dash-hpc"
            gpu = place.gpus[local_rank % len(place.gpus)] if place.gpus else ""
            threads = 1 if gpu and on_gpu else threads
            result[place.rank] = Binding(
                place.rank, host, place.pid, local_rank, len(group), cores, threads, bound_by, gpu
            )
    return [result[place.rank] for place in places]


def warnings_of(places: Sequence[Place]) -> list[str]:
    """Name the hosts on which ranks outnumber cores."""
    lines = []
    for host in dict.fromkeys(place.host for place in places):
        group = [place for place in places if place.host == host]
        cores = min(len({core for place in group for core in place.cores}), max(place.granted for place in group))
        if len(group) > cores:
            lines.append(f"{host}: {len(group)} ranks share {cores} core{'s' * (cores > 1)}; start one rank per core")
    return lines


def apply(binding: Binding) -> None:
    """Bind this process, and with it the worker processes that it will start."""
    if binding.bound_by == "dash-hpc" and hasattr(os, "sched_setaffinity"):
        # A host that refuses (a container's policy) still computes the same numbers.
        with suppress(OSError):
            os.sched_setaffinity(0, binding.cores)
    if binding.gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = binding.gpu


def describe(binding: Binding) -> str:
    """Return the binding as one line for the log."""
    cores = _ranges(binding.cores)
    gpu = f", GPU {binding.gpu}" if binding.gpu else ""
    runs = f"{binding.threads} run{'s' * (binding.threads > 1)} at a time"
    return (
        f"rank {binding.rank} on {binding.host}: local rank {binding.local_rank} of {binding.local_size}, "
        f"cores {cores} (bound by {binding.bound_by}), {runs}{gpu}"
    )


def visible_gpus(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the GPUs of this host as CUDA_VISIBLE_DEVICES names them, without asking CUDA."""
    named = environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(name for name in (part.strip() for part in named.split(",")) if name and name != "-1")
    numbers = (path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))
    return tuple(sorted((number for number in numbers if number.isdigit()), key=int))


def _ranges(numbers: Sequence[int]) -> str:
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
