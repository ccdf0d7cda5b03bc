"""What it costs to hand runs to MPI ranks.

    mpiexec -n 16 python benchmarks/ranks.py [--check]

Synthetic runs that sleep, through the executor that `dash-hpc run` uses under MPI and through its driver: the driver's
processor time per run, messages per run, and efficiency (work done / ranks x time) at however many ranks there are.
Every run's value is compared before any time is taken. The ranks may outnumber the cores: sleeping costs none.

Claims, which --check tests: at most 1 ms of the driver's processor time and 4 messages per run, efficiency 0.95 or
more.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from dash_hpc.execution.driver import drive
from dash_hpc.execution.machine.journal import Journal
from dash_hpc.execution.mpi.executor import MPIExecutor
from dash_hpc.execution.mpi.session import mpi_session

MOST_MILLISECONDS = 1.0
MOST_MESSAGES = 4.0
LEAST_EFFICIENCY = 0.95


def measure(executor: MPIExecutor, seconds: float, rounds: int) -> dict[str, float]:
    workers = executor.workers
    # All worker processes start, and the answers are right, before the clock does.
    warm = [executor.submit(time.sleep, 0.5) for _ in range(workers)]
    values = [executor.submit(divmod, k, 7) for k in range(4 * workers)]
    assert [future.result() for future in warm] == [None] * workers
    assert [tuple(future.result()) for future in values] == [divmod(k, 7) for k in range(4 * workers)]

    messages, processor, began = executor.messages, time.process_time(), time.perf_counter()
    runs = rounds * workers
    with tempfile.TemporaryDirectory() as folder:
        drive(
            Path(folder),
            [f"{k:016x}" for k in range(runs)],
            _Sleeping(executor, seconds),  # type: ignore[arg-type]
            window=workers,
            journal=Journal(Path(folder) / "log"),
        )
    wall = time.perf_counter() - began
    return {
        "ranks": len(executor.station.bindings),
        "workers": workers,
        "runs": runs,
        "driver_ms_per_run": 1000 * (time.process_time() - processor) / runs,
        "messages_per_run": (executor.messages - messages) / runs,
        "efficiency": runs * seconds / (workers * wall),
    }


class _Sleeping:
    """Gives each run of the driver's the same length, and the answer of a run that is done."""

    def __init__(self, executor: MPIExecutor, seconds: float) -> None:
        self.executor, self.seconds = executor, seconds

    def submit(self, task: object, folder: str, run_id: str) -> object:
        from concurrent.futures import Future

        outer: Future[str] = Future()
        inner = self.executor.submit(time.sleep, self.seconds)
        inner.add_done_callback(lambda done: outer.set_result("done"))
        return outer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a run")
    parser.add_argument("--rounds", type=int, default=20, help="runs per worker")
    parser.add_argument("--check", action="store_true", help="leave with 1 when a claim does not hold")
    options = parser.parse_args()
    result = mpi_session(lambda executor: measure(executor, options.seconds, options.rounds))
    if result is None:
        return 0
    for name, value in result.items():
        print(f"{name:<20} {value:.4g}")
    holds = (
        result["driver_ms_per_run"] <= MOST_MILLISECONDS
        and result["messages_per_run"] <= MOST_MESSAGES
        and result["efficiency"] >= LEAST_EFFICIENCY
    )
    print("all claims hold" if holds else "a claim does not hold")
    return 0 if holds or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
