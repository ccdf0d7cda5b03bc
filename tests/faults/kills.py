"""Kill workers and drivers, signal them, start them twice, stop them for longer than their lease.

Every case runs whole studies through the command line and compares the end with an undisturbed study, bit for bit.
"""

from __future__ import annotations

import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import dash_hpc
from dash_hpc.errors import StoreError
from dash_hpc.store import compare_runs, open_store, read_run
from dash_hpc.store.checkpoint import read_checkpoint

INTERVAL = 0.5
#: At most so much work may be redone per kill: one flush of the run's file is never older.
REDONE_SECONDS = 5.0
FIRST_EPOCH_SECONDS = 5.0
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
_PATIENCE = 120.0

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
"""


@dataclass
class Result:
    """One row of the campaign's table."""

    case: str
    trials: int = 0
    failures: list[str] = field(default_factory=list)
    figure: str = ""


class Study:
    """A study in a folder of its own, and the command that runs it."""

    def __init__(self, folder: Path, epochs: int, name: str, lease_seconds: float = 60.0) -> None:
        self.output = folder / name
        self.file = folder / "kills.toml"
        folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text(STUDY.format(epochs=epochs))
        self.log = folder / f"{name}.log"
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(Path(dash_hpc.__file__).parents[1]),
            "DASH_HPC_CHECKPOINT_SECONDS": str(INTERVAL),
            "DASH_HPC_LEASE_SECONDS": str(lease_seconds),
        }

    def start(self) -> subprocess.Popen[bytes]:
        """Give the command. As the one part of one it writes no report, which is not what is tried here."""
        command = [sys.executable, "-m", "dash_hpc", "run", str(self.file), "--output", str(self.output)]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*command, "--workers", "2", "--part", "1/1"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.file.parent,
                start_new_session=True,
            )

    def run(self) -> int:
        """Give the command and wait for its end."""
        return _wait(self.start())

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
            try:
                stored = read_checkpoint(path)
            except StoreError:
                continue
            newest[stored.run_id] = max(newest.get(stored.run_id, 0), stored.epoch)
        return newest

    def acknowledged(self) -> dict[str, tuple[str, int, bytes]]:
        """What a reader sees: run id -> (status, epochs, bytes of an ended record)."""
        seen = {}
        for run_id, path in self.runs().items():
            record = read_run(path, network=False)
            seen[run_id] = (record.status, record.epochs, path.read_bytes() if record.complete else b"")
        return seen


def undisturbed(folder: Path, epochs: int) -> Study:
    """Run the study that the others have to equal."""
    study = Study(folder, epochs, "undisturbed")
    if study.run() != 0:
        raise RuntimeError(f"the undisturbed study failed; see {study.log}")
    return study


def kill_campaign(
    folder: Path,
    kills: int,
    seed: int,
    epochs: int = 3000,
    first_epoch_seconds: float = FIRST_EPOCH_SECONDS,
    whole: Study | None = None,
) -> Result:
    """kill -9 of a worker or of the driver at random moments; restart with the same command.

    Parameters
    ----------
    folder : Path
        For everything that is made here.
    kills : int
    seed : int
        Of the moments and the victims.
    epochs : int
        Length of the runs; a study that is done makes way for a new one until all kills are done.
    first_epoch_seconds : float
        Limit for the median time from a restart to the first new epoch; more where others use the machine.
    whole : Study, optional
        The same study, undisturbed and done; made here when it is not given.
    """
    rng = random.Random(seed)
    result = Result("kill -9 of workers, drivers")
    whole = whole or undisturbed(folder, epochs)
    redone: list[float] = []
    starts: list[float] = []
    episode = 0
    while result.trials < kills and not result.failures:
        episode += 1
        study = Study(folder, epochs, f"episode-{episode}")
        _episode(study, rng, kills - result.trials, result, redone, starts)
        result.failures += _differences(whole, study)
    longest = max(redone, default=0.0)
    if longest > REDONE_SECONDS:
        result.failures.append(f"{longest:.2f} s of work were redone after one kill")
    if starts and statistics.median(starts) > first_epoch_seconds:
        result.failures.append(f"the first new epoch came {statistics.median(starts):.1f} s after a restart (median)")
    result.figure = (
        f"{episode} studies; redone per kill at most {longest:.2f} s; first new epoch after "
        f"{statistics.median(starts):.1f} s (median), {max(starts):.1f} s (longest)"
        if starts
        else f"{episode} studies; redone per kill at most {longest:.2f} s"
    )
    return result


def _episode(
    study: Study, rng: random.Random, kills: int, result: Result, redone: list[float], starts: list[float]
) -> None:
    driver, restarted = study.start(), True
    seen: dict[str, tuple[str, int, bytes]] = {}
    lost_at: list[tuple[str, int, int]] = []
    while kills > 0:
        # Some are killed before they have begun.
        if restarted and rng.random() < 0.8 and (seconds := _first_new_epoch(study, driver)) is not None:
            starts.append(seconds)
        _pause(driver, rng.uniform(0.0, 2.0))
        restarted = False
        if driver.poll() is not None:
            break
        workers = _children(driver.pid)
        victim = rng.choice([driver.pid, *workers]) if workers else driver.pid
        before = study.acknowledged()
        _kill(victim)
        kills -= 1
        result.trials += 1
        checkpoints = study.checkpoint_epochs()
        for run_id, (pid, note) in study.notes().items():
            if victim in (pid, driver.pid) and note.startswith("epoch "):
                lost_at.append((run_id, checkpoints.get(run_id, 0), int(note.split()[1]) - 1))
        result.failures += _regressions(seen, before) + _regressions(before, study.acknowledged())
        seen = before
        if victim == driver.pid:
            driver.wait()
            driver, restarted = study.start(), True
    code = _wait(driver)
    if code != 0:
        result.failures.append(f"{study.output.name} ended with exit code {code}; see {study.log}")
    result.failures += _regressions(seen, study.acknowledged())
    for run_id, path in study.runs().items():
        seconds = read_run(path, network=False).history["seconds"]
        redone += [float(seconds[start:end].sum()) for run, start, end in lost_at if run == run_id]


def signal_campaign(
    folder: Path, restarts: int, seed: int, every: float = 2.0, epochs: int = 3000, whole: Study | None = None
) -> Result:
    """A signal ``every`` seconds after each start, to the driver alone or to all its processes; then start again.

    The last start is left alone. Each signalled command has to leave with exit code 3, unless it was done.
    """
    rng = random.Random(seed)
    result = Result("a signal, then a restart")
    whole = whole or undisturbed(folder, epochs)
    episode, slowest, resumed = 1, 0.0, 0
    study = Study(folder, epochs, "signalled-1")
    while result.trials < restarts and not result.failures:
        driver = study.start()
        if every > 0:
            _pause(driver, every)
        else:
            _first_new_epoch(study, driver)
        if not _has_handlers(driver.pid):  # Python itself has not begun yet
            _pause(driver, 1.0)
        number = rng.choice(SIGNALS)
        began = time.monotonic()
        for pid in [driver.pid, *(_children(driver.pid) if rng.random() < 0.5 else [])]:
            _send(pid, number)
        code = _wait(driver)
        slowest = max(slowest, time.monotonic() - began)
        result.trials += 1
        if code == 0:
            result.failures += _differences(whole, study)
            resumed += _resumptions(study)
            episode += 1
            study = Study(folder, epochs, f"signalled-{episode}")
        elif code != 3:
            result.failures.append(f"{signal.Signals(number).name}: exit code {code}; see {study.log}")
    if study.run() != 0:
        result.failures.append(f"{study.output.name} was not completed; see {study.log}")
    result.failures += _differences(whole, study)
    resumed += _resumptions(study)
    result.figure = f"{episode} studies, {resumed} resumptions; left within {slowest:.1f} s"
    return result


def pairs_of_drivers(folder: Path, pairs: int, seed: int, epochs: int = 60, whole: Study | None = None) -> Result:
    """Two drivers on one folder at once: one works, the other leaves with one line and exit code 2."""
    rng = random.Random(seed)
    result = Result("two drivers on one folder")
    whole = whole or undisturbed(folder, epochs)
    for pair in range(1, pairs + 1):
        study = Study(folder, epochs, f"pair-{pair}")
        first = study.start()
        time.sleep(rng.choice([0.0, 0.0, rng.uniform(0.0, 2.0)]))
        second = study.start()
        codes = sorted([_wait(first), _wait(second)])
        result.trials += 1
        # Both may succeed: the second may find everything done.
        if codes not in ([0, 2], [0, 0]):
            result.failures.append(f"pair {pair}: exit codes {codes}; see {study.log}")
        if codes == [0, 2] and study.log.read_text().count("is at work on it") != 1:
            result.failures.append(f"pair {pair}: the second driver did not name the first; see {study.log}")
        result.failures += _differences(whole, study)
        journal = (study.output / "log" / "driver.log").read_text()
        result.failures += [
            f"pair {pair}: run {run_id} was done {count} times"
            for run_id in study.runs()
            if (count := journal.count(f"run {run_id}: done")) != 1
        ]
    result.figure = "every run exactly once"
    return result


def stopped_holders(folder: Path, trials: int, seed: int, epochs: int = 3000, whole: Study | None = None) -> Result:
    """SIGSTOP a worker for longer than its lease, as on another machine, let somebody else finish, then SIGCONT."""
    rng = random.Random(seed)
    result = Result("SIGSTOP beyond the lease")
    whole = whole or undisturbed(folder, epochs)
    program = (
        "import sys\n"
        "from dash_hpc.execution import lease, lease_file\n"
        "place = lambda: sys.argv[3]\n"
        "lease.place = lease_file.place = place\n"
        "import time\n"
        "from dash_hpc.execution.worker import run_one\n"
        "while (status := run_one(sys.argv[1], sys.argv[2])) == 'held':\n"
        "    time.sleep(0.1)\n"
        "print(status)\n"
    )
    for trial in range(1, trials + 1):
        study = Study(folder, epochs, f"stopped-{trial}", lease_seconds=1.0)
        _plan(study)
        run_id = rng.choice(sorted(open_store(study.output).planned))

        def worker(place: str, study: Study = study, run_id: str = run_id) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [sys.executable, "-c", program, str(study.output), run_id, place],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**study.environment, "OMP_NUM_THREADS": "1"},
            )

        first = worker("one machine")
        _first_new_epoch(study, first)
        _pause(first, rng.uniform(0.0, 1.0))
        _send(first.pid, signal.SIGSTOP)
        second = worker("another machine")
        outcome = second.communicate(timeout=_PATIENCE)[0].decode().strip()
        before = study.runs()[run_id].read_bytes()
        _send(first.pid, signal.SIGCONT)
        late = first.communicate(timeout=_PATIENCE)[0].decode().strip()
        result.trials += 1
        # The first gives up, tries again, and finds the run done.
        if (outcome, late) != ("done", "done"):
            result.failures.append(f"trial {trial}: the two ended as {outcome!r} and {late!r}")
        if study.runs()[run_id].read_bytes() != before:
            result.failures.append(f"trial {trial}: the record was written again by the former holder")
        result.failures += compare_runs(study.runs()[run_id], whole.runs()[run_id])
    result.figure = "one record each, untouched by the former holder"
    return result


def _plan(study: Study) -> None:
    from dash_hpc.execution.study_run import prepare
    from dash_hpc.study import load_study

    prepare(load_study(study.file), study.output)


def _first_new_epoch(study: Study, driver: subprocess.Popen[bytes]) -> float | None:
    """Wait until a process that came after this call has completed an epoch; return the seconds, None at the end."""
    began = time.monotonic()
    first: dict[tuple[str, int], str] = {}
    old = {pid for pid, _ in study.notes().values()}
    while driver.poll() is None and time.monotonic() - began < _PATIENCE:
        for run_id, (pid, note) in study.notes().items():
            if pid in old or not note.startswith(("epoch", "evaluation")):
                continue
            if first.setdefault((run_id, pid), note) != note:
                return time.monotonic() - began
        time.sleep(0.005)
    return None


def _differences(whole: Study, study: Study) -> list[str]:
    """What differs from the undisturbed study, and what should have gone with the end of a run."""
    name = study.output.name
    expected, found = whole.runs(), study.runs()
    failures = [f"{name}: run {run_id} is missing" for run_id in expected.keys() - found.keys()]
    for run_id in expected.keys() & found.keys():
        failures += [f"{name}: run {run_id}: {text}" for text in compare_runs(expected[run_id], found[run_id])]
    left = [*study.output.glob("runs/??/*.ckpt.h5"), *study.output.glob("**/*.damaged-*")]
    return failures + [f"{name}: {path.name} was left" for path in left]


def _regressions(before: dict[str, tuple[str, int, bytes]], after: dict[str, tuple[str, int, bytes]]) -> list[str]:
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


def _resumptions(study: Study) -> int:
    return sum(len(read_run(path, network=False).provenance.get("resumed", [])) for path in study.runs().values())


def _children(parent: int) -> list[int]:
    """Worker processes of a driver, without those that it asks about the machine."""
    return [pid for pid, ppid, command in _processes() if ppid == parent and "dash_hpc.execution.child" in command]


def _processes() -> Iterator[tuple[int, int, str]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            yield int(folder.name), int(fields[1]), command


def _has_handlers(pid: int) -> bool:
    """Whether a process catches SIGTERM: what comes before is the default of every program, death."""
    try:
        caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return True
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def _kill(pid: int) -> None:
    _send(pid, signal.SIGKILL)


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _pause(process: subprocess.Popen[bytes], seconds: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def _wait(process: subprocess.Popen[bytes]) -> int:
    return process.wait(_PATIENCE)
