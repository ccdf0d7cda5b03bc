"""One thread per run: what a run computes must not depend on how many cores there are."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dash_hpc.execution.cgroup import quota_cores

__all__ = ["ONE_THREAD", "available_cores", "one_thread", "thread_count"]

ONE_THREAD = {
    # Read by the libraries when they load, so they are set when the process is made.
    "OMP_NUM_THREADS": "1",
    "OMP_DYNAMIC": "FALSE",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MKL_DYNAMIC": "FALSE",
    "BLIS_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}
"""Environment of a worker process."""


def available_cores() -> int:
    """Return the number of cores that this process may use: those it is bound to, or fewer by a CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, quota_cores() or cores)


def thread_count() -> int:
    """Return how many threads the numerical libraries that are loaded may use."""
    from threadpoolctl import threadpool_info

    counts = [int(pool["num_threads"]) for pool in threadpool_info()]
    if "torch" in sys.modules:
        counts.append(sys.modules["torch"].get_num_threads())
    return max(counts, default=1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run the body with one thread in torch and in the linear algebra libraries; restore the numbers after.

    Most runs never load torch, so it is not loaded here; libraries that the body loads are limited by the environment.
    """
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else _default_threads()
    if torch is not None:
        torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1), _environment(ONE_THREAD):
            yield
    finally:
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(before)


def _default_threads() -> int:
    """Return the number that torch would take by itself."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdecimal() and int(text) > 0 else available_cores()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
