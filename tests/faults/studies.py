"""A whole study, the command that runs it, and what can be seen of both from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import dash_hpc
from dash_hpc.errors import StoreError
from dash_hpc.store import compare_runs, read_run
from dash_hpc.store.checkpoint import read_checkpoint

PATIENCE = 180.0

STUDY = """
[study]
name = "kills"
[data]
kind = "simulate"
genes = 12
regulators = 4
edges = 16
trajectories = 16
test_trajectories = 2
[model]
hidden = 6
[training]
epochs = {epochs}
early_stop = 0
[schedule]
first_epoch = 3
every = 40
[sweep]
seeds = [0]
[[strategy]]
name = "dash"
lambda_ppi = 0.5
lambda_motif = 0.1
[[strategy]]
name = "imp"
rewind = 2
[[strategy]]
name = "evidence"
"""

#: What a reader sees of a run: (status, epochs, bytes of an ended record).
Seen = dict[str, tuple[str, int, bytes]]


@dataclass
class Result:
    """One row of the campaign's table; ``figures`` are what its words are made of."""

    case: str
    trials: int = 0
    failures: list[str] = field(default_factory=list)
    words: str = ""
    figures: dict[str, list[float]] = field(default_factory=dict)


class Study:
    """A study in a folder of its own, and the command that runs it."""

    def __init__(
        self, folder: Path, epochs: int, name: str, lease_seconds: float = 60.0, checkpoint_seconds: float = 0.1
    ) -> None:
        self.output = folder / name
        self.file = folder / "kills.toml"
        folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text(STUDY.format(epochs=epochs))
        self.log = folder / f"{name}.log"
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(Path(dash_hpc.__file__).parents[1]),
            "DASH_HPC_CHECKPOINT_SECONDS": str(checkpoint_seconds),
            "DASH_HPC_LEASE_SECONDS": str(lease_seconds),
        }

    def start(self, workers: int = 2) -> subprocess.Popen[bytes]:
        """Give the command. As the one part of one it writes no report, which is not what is tried here."""
        command = [sys.executable, "-m", "dash_hpc", "run", str(self.file), "--output", str(self.output)]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*command, "--workers", str(workers), "--part", "1/1"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.file.parent,
                start_new_session=True,
            )

    def run(self) -> int:
        """Give the command and wait for its end."""
        return wait(self.start())

    def plan(self) -> tuple[str, ...]:
        """Make the store without running anything; return the run ids."""
        from dash_hpc.execution.study_run import prepare
        from dash_hpc.study import load_study

        return prepare(load_study(self.file), self.output)

    def runs(self) -> dict[str, Path]:
        """Run files by id."""
        return {
            path.stem: path for path in self.output.glob("runs/??/*.h5") if re.fullmatch(r"[0-9a-f]{16}", path.stem)
        }

    def notes(self) -> dict[str, tuple[int, str]]:
        """Who is at which run, and where: run id -> (process id, note)."""
        found = {}
        for path in self.output.glob("lease/??/*.lease"):
            try:
                counter, note, holder = path.read_text().split("\n", 2)
            except (OSError, ValueError):
                continue
            pid = re.search(r'"pid": (\d+)', holder)
            if pid and "released" not in counter:
                found[path.name.partition(".")[0]] = (int(pid[1]), note.strip())
        return found

    def checkpoint_epochs(self) -> dict[str, int]:
        """Newest checkpoint of each run."""
        newest: dict[str, int] = {}
        for path in self.output.glob("runs/??/*.ckpt.h5"):
            with suppress(StoreError):
                stored = read_checkpoint(path)
                newest[stored.run_id] = max(newest.get(stored.run_id, 0), stored.epoch)
        return newest

    def work(self, epochs: int) -> int:
        """Epochs that no restart does again: those of ended runs and of checkpoints."""
        ended = [run_id for run_id, (status, _, _) in self.acknowledged().items() if status == "done"]
        return epochs * len(ended) + sum(
            epoch for run_id, epoch in self.checkpoint_epochs().items() if run_id not in ended
        )

    def acknowledged(self) -> Seen:
        """What a reader sees."""
        seen = {}
        for run_id, path in self.runs().items():
            record = read_run(path, network=False)
            seen[run_id] = (record.status, record.epochs, path.read_bytes() if record.complete else b"")
        return seen

    def resumptions(self) -> int:
        """How often its runs went on from a checkpoint."""
        return sum(len(read_run(path, network=False).provenance.get("resumed", [])) for path in self.runs().values())


def undisturbed(folder: Path, epochs: int) -> Study:
    """Run the study that the others have to equal."""
    study = Study(folder, epochs, "undisturbed")
    if study.run() != 0:
        raise RuntimeError(f"the undisturbed study failed; see {study.log}")
    return study


def differences(whole: Study, study: Study) -> list[str]:
    """What differs from the undisturbed study, and what should have gone with the end of a run."""
    name = study.output.name
    expected, found = whole.runs(), study.runs()
    failures = [f"{name}: run {run_id} is missing" for run_id in expected.keys() - found.keys()]
    for run_id in expected.keys() & found.keys():
        failures += [f"{name}: run {run_id}: {text}" for text in compare_runs(expected[run_id], found[run_id])]
    left = [*study.output.glob("runs/??/*.ckpt.h5"), *study.output.glob("**/*.damaged-*")]
    return failures + [f"{name}: {path.name} was left" for path in left]


def regressions(before: Seen, after: Seen) -> list[str]:
    """What a reader had seen and does not see any more."""
    failures = []
    for run_id, (status, epochs, data) in before.items():
        if run_id not in after:
            failures.append(f"run {run_id} vanished")
        elif after[run_id][1] < epochs:
            failures.append(f"run {run_id} fell from {epochs} to {after[run_id][1]} epochs")
        elif status == "done" and after[run_id][2] != data:
            failures.append(f"run {run_id} was done and its record changed")
    return failures


def first_new_epoch(study: Study, driver: subprocess.Popen[bytes], old: Iterable[int]) -> tuple[float, float] | None:
    """Wait until a process that is not one of ``old`` has completed an epoch; None when the study ends before.

    Returns the seconds since the call, and what is left of them without the time for which driver and worker were
    ready and had no core: what it takes on a machine that is not busy.
    """
    began = time.monotonic()
    before = core_wait(driver.pid)
    first: dict[tuple[str, int], str] = {}
    past = set(old)
    while driver.poll() is None and time.monotonic() - began < PATIENCE:
        for run_id, (pid, note) in study.notes().items():
            if pid in past or not note.startswith(("epoch", "evaluation")):
                continue
            if first.setdefault((run_id, pid), note) != note:
                seconds = time.monotonic() - began
                return seconds, max(seconds - (core_wait(driver.pid) - before) - core_wait(pid), 0.0)
        time.sleep(0.005)
    return None


def core_wait(pid: int) -> float:
    """Seconds for which the threads of a process were ready to run and waited for a core, as Linux counts them."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError, ValueError, IndexError):
            total += int(path.read_text().split()[1])
    return total / 1e9


def children(parent: int) -> list[int]:
    """Worker processes of a driver, without those that it asks about the machine."""
    return [
        pid for pid, ppid, command in _processes() if ppid == parent and "dash_hpc.execution.local.child" in command
    ]


def _processes() -> Iterator[tuple[int, int, str]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            yield int(folder.name), int(fields[1]), command


def has_handlers(pid: int) -> bool:
    """Whether a process catches SIGTERM: what comes before is the default of every program, death."""
    try:
        caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return True
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def pause(process: subprocess.Popen[bytes], seconds: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def wait(process: subprocess.Popen[bytes]) -> int:
    return process.wait(PATIENCE)
