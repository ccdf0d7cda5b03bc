"""Many runs of a plan side by side in one worker process, on the CPU or a GPU."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dash_hpc.execution.machine.signals import process_flag
from dash_hpc.execution.threads import one_thread
from dash_hpc.execution.work.one_run import PATIENCE_SECONDS, OneRun

if TYPE_CHECKING:
    from dash_hpc.ops.cuda import Gpu

__all__ = ["look_at_device", "run_pack"]


def run_pack(folder: str, run_ids: Sequence[str], device: str = "cpu", threads: int = 1) -> dict[str, Any]:
    """Do what :func:`dash_hpc.execution.work.one_run.run_one` does for each of many runs, which advance together.

    Each run has its own lease, checkpoints and record, and on the CPU the bits that it has alone. A run that is done,
    is held by another process, ends early or fails leaves the pack, and the others go on. On a request to stop all
    stop after the same epoch of the pack.

    Parameters
    ----------
    folder, run_ids : str, sequence of str
    device : str, default "cpu"
        As :func:`dash_hpc.ops.cuda.choose_device` takes it. With "auto" the CPU takes over what a GPU cannot do.
    threads : int, default 1
        Of the CPU; one run has one.

    Returns
    -------
    dict
        ``runs``: for each id ``{"status": …, "notes": […]}``; ``notes``: lines about what the CPU took over, and why.

    Raises
    ------
    StoreError, UsageError
        As ``run_one``; the other runs have made a checkpoint, where they could.
    GpuUnavailable, GpuFault
        When a GPU was asked for by name and cannot be used, or fails.
    """
    from dash_hpc.training import Pack

    with one_thread():
        gpu, line, name = _device(device)
        flag = process_flag()
        broken: list[Exception] = []
        moved: Counter[str] = Counter()

        def fallback(k: int, reason: str) -> None:
            runs[k].moved("cpu", reason)
            moved[reason] += 1

        pack = Pack(
            threads=threads,
            stop=lambda: flag.is_set() or bool(broken),
            gpu=gpu,
            fallback=fallback if device == "auto" else None,
        )
        runs = [OneRun(folder, run_id, device=name, side_by_side=len(run_ids)) for run_id in run_ids]
        until = time.monotonic() + PATIENCE_SECONDS

        def steps(run: OneRun) -> Generator[Any, Any, str]:
            try:
                return (yield from run.steps(pack.stopping, max(0.0, until - time.monotonic())))
            except Exception as error:  # not of the run, whose failures are recorded: of the disk, or the plan
                broken.append(error)
                raise

        ended = pack.run([steps(run) for run in runs])
        if broken:
            raise broken[0]
        answers = {run.run_id: {"status": status, "notes": run.notes} for run, status in zip(runs, ended, strict=True)}
        notes = [f"{count} run{'s' * (count > 1)} went on with the CPU: {why}" for why, count in moved.items()]
        if device == "auto" and gpu is None:
            notes.insert(0, f"device: {line}")
        return {"runs": answers, "notes": notes}


def look_at_device(wish: str) -> dict[str, Any]:
    """Try the device that was asked for.

    Returns
    -------
    dict
        ``gpu``: whether it is one; ``line``: what it is, or why it is the CPU; ``count``: GPUs that this process sees;
        ``free_bytes``: of the GPU's memory, 0 for the CPU.

    Raises
    ------
    UsageError, GpuUnavailable, GpuFault
        As :func:`dash_hpc.ops.cuda.choose_device`.
    """
    gpu, line, _ = _device(wish)
    if gpu is None:
        return {"gpu": False, "line": line, "count": 0, "free_bytes": 0}
    count = int(gpu.module.device_count())
    return {"gpu": True, "line": line, "count": count, "free_bytes": int(gpu.facts()["free_bytes"])}


@lru_cache(maxsize=4)
def _device(wish: str) -> tuple[Gpu | None, str, str]:
    """The device, one line about it, and its name for the record."""
    from dash_hpc.ops.cuda import choose_device

    gpu, line = choose_device(wish)
    return gpu, line, "cpu" if gpu is None else str(gpu.facts()["name"])
