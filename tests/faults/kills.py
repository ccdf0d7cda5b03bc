"""kill -9 of drivers and workers at random moments; the end has to equal an undisturbed study, bit for bit."""

from __future__ import annotations

import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path

from studies import (
    PATIENCE,
    Result,
    Seen,
    Study,
    children,
    differences,
    first_new_epoch,
    pause,
    regressions,
    send,
    undisturbed,
    wait,
)

from dash_hpc.execution.claims.deaths import MAX_STUCK, MAX_TRIES, read_deaths
from dash_hpc.execution.claims.lease_file import started
from dash_hpc.execution.local.executor import START_TRIES
from dash_hpc.store import read_run

#: At most so much work may be redone per kill: one flush of the run's file is never older.
REDONE_SECONDS = 5.0
FIRST_EPOCH_SECONDS = 5.0
EPOCHS = 2000
_LONGEST_PAUSE = 0.6
_LONGEST_LIFE = 0.3


class Toll:
    """Kills, and keeps account of what readers had seen and of the work that is done again."""

    def __init__(self, result: Result) -> None:
        self.result = result
        self.redone: list[float] = result.figures.setdefault("redone", [])
        self._seen: Seen = {}
        self._lost: list[tuple[str, int, int]] = []

    def kill(self, study: Study, victim: int, with_it: Collection[int]) -> None:
        """Kill a process; ``with_it`` are those whose runs are interrupted by that."""
        before = study.acknowledged()
        send(victim, signal.SIGKILL)
        self.result.trials += 1
        checkpoints = study.checkpoint_epochs()
        for run_id, (pid, note) in study.notes().items():
            if pid in with_it and note.startswith("epoch "):
                self._lost.append((run_id, checkpoints.get(run_id, 0), int(note.split()[1]) - 1))
        self.result.failures += regressions(self._seen, before) + regressions(before, study.acknowledged())
        self._seen = before

    def end(self, study: Study, whole: Study) -> None:
        """Compare a study that has ended, and look up how long what was lost had taken."""
        self.result.failures += regressions(self._seen, study.acknowledged()) + differences(whole, study)
        for run_id, path in study.runs().items():
            history = read_run(path, network=False).history
            if "seconds" in history:  # a run that failed has none; it is among the differences
                lost = [history["seconds"][start:end] for run, start, end in self._lost if run == run_id]
                self.redone += [float(seconds.sum()) for seconds in lost]
        self._seen, self._lost = {}, []


def kill_campaign(folder: Path, kills: int, seed: int, epochs: int = EPOCHS, whole: Study | None = None) -> Result:
    """Kill the driver or a worker of the command; give the same command again.

    Parameters
    ----------
    folder : Path
        For everything that is made here.
    kills : int
    seed : int
        Of the moments and the victims.
    epochs : int
        Length of the runs; a study that is done makes way for a new one until all kills are done.
    whole : Study, optional
        The same study, undisturbed and done; made here when it is not given.
    """
    rng = random.Random(seed)
    result = Result("kill -9, driver or worker")
    toll = Toll(result)
    whole = whole or undisturbed(folder, epochs)
    for name in ("studies", "wall", "alone"):
        result.figures[name] = []
    while result.trials < kills and not result.failures:
        study = Study(folder, epochs, f"episode-{len(result.figures['studies']) + 1}")
        result.figures["studies"].append(1)
        code = _episode(study, rng, kills - result.trials, toll)
        if code != 0:
            result.failures.append(f"{study.output.name} ended with exit code {code}; see {study.log}")
        toll.end(study, whole)
    return judge_kills(result)


def judge_kills(result: Result) -> Result:
    """Hold the figures of kills to their limits and put them into words."""
    longest = max(result.figures["redone"], default=0.0)
    if longest > REDONE_SECONDS:
        result.failures.append(f"{longest:.2f} s of work were redone after one kill")
    result.words = f"{len(result.figures['studies'])} studies; redone per kill at most {longest:.2f} s"
    if result.figures.get("wall"):
        alone, wall = statistics.median(result.figures["alone"]), result.figures["wall"]
        if alone > FIRST_EPOCH_SECONDS:
            result.failures.append(
                f"the first new epoch came {alone:.1f} s after a kill (median, less waits for a core)"
            )
        result.words += (
            f"; first new epoch after {statistics.median(wall):.1f} s (median; {alone:.1f} s less waits for a core), "
            f"{max(wall):.1f} s (longest)"
        )
    return result


def _episode(study: Study, rng: random.Random, kills: int, toll: Toll) -> int:
    figures = toll.result.figures
    driver = study.start(rng.choice([1, 2]))
    old: set[int] = set()
    comes = True
    idle_kills = 0  # since this driver began or had all its workers at work
    while kills > 0:
        # Some are killed before they have begun; and who takes the place of an idle worker may find nothing to do.
        if comes and rng.random() < 0.8 and (times := first_new_epoch(study, driver, old)) is not None:
            figures["wall"].append(times[0])
            figures["alone"].append(times[1])
        pause(driver, rng.uniform(0.0, _LONGEST_PAUSE))
        if driver.poll() is not None:
            break
        workers = children(driver.pid)
        notes = study.notes()
        busy = {pid for pid, _ in notes.values()}
        # A third death at one place sets a run aside, as it should; here only deaths that it is not to blame for count.
        spared = {pid for run_id, (pid, _) in notes.items() if _near_its_limit(study, run_id)}
        # Nor is a worker to be killed time and again before it is ready, where starting takes longer than the pauses.
        idle_kills = 0 if workers and busy.issuperset(workers) else idle_kills
        spared |= set(workers) - busy if idle_kills == START_TRIES - 1 else set()
        victim = rng.choice([driver.pid, *(pid for pid in workers if pid not in spared)])
        comes = victim == driver.pid or victim in busy
        idle_kills = 0 if victim == driver.pid else idle_kills + (victim not in busy)
        old = busy
        toll.kill(study, victim, busy if victim == driver.pid else {victim})
        kills -= 1
        if victim == driver.pid:
            driver.wait()
            driver = study.start(rng.choice([1, 2]))
    return wait(driver)


def _near_its_limit(study: Study, run_id: str) -> bool:
    deaths = read_deaths(study.output, run_id)
    return deaths.tries >= MAX_TRIES - 1 or deaths.stuck >= MAX_STUCK - 1


class Nursery:
    """Processes that execute one run each, by fork: a hundred of them cost one start of Python."""

    def __init__(self, study: Study) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _NURSERY, str(study.output)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**study.environment, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def start(self, run_id: str) -> int:
        """Begin a run in a new process and return its id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(run_id + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=PATIENCE)


_NURSERY = """
import os, sys
from dash_hpc.execution.machine.provenance import provenance
from dash_hpc.execution.work.one_run import run_one
import dash_hpc.data.simulator, dash_hpc.evaluation, dash_hpc.pruning, dash_hpc.training
provenance()
for line in iter(sys.stdin.readline, ""):
    pid = os.fork()
    if pid == 0:
        os.close(0)
        os.close(1)
        os._exit(0 if run_one(sys.argv[1], line.strip()) == "done" else 1)
    print(pid, flush=True)
"""


def worker_kills(folder: Path, kills: int, seed: int, epochs: int = EPOCHS, whole: Study | None = None) -> Result:
    """Kill workers that live for a moment only; parameters as of :func:`kill_campaign`."""
    rng = random.Random(seed)
    result = Result("kill -9, short lives")
    toll = Toll(result)
    whole = whole or undisturbed(folder, epochs)
    result.figures["studies"] = []
    while result.trials < kills and not result.failures:
        study = Study(folder, epochs, f"short-{len(result.figures['studies']) + 1}")
        result.figures["studies"].append(1)
        run_ids = study.plan()
        nursery = Nursery(study)
        for k, run_id in enumerate(run_ids):
            others = len(run_ids) - k - 1
            left = (kills - result.trials + others) // (others + 1)
            _short_lives(study, nursery, run_id, rng, left, toll)
        nursery.close()
        toll.end(study, whole)
    return judge_kills(result)


def _short_lives(study: Study, nursery: Nursery, run_id: str, rng: random.Random, kills: int, toll: Toll) -> None:
    deadline = time.monotonic() + PATIENCE
    pid = nursery.start(run_id)
    while True:
        moment = time.monotonic() + (rng.uniform(0.0, _LONGEST_LIFE) if kills > 0 else PATIENCE)
        while started(pid) and time.monotonic() < min(moment, deadline):
            time.sleep(0.002)
        if not started(pid):
            return
        if time.monotonic() > deadline:
            toll.result.failures.append(f"run {run_id} did not end")
            return
        toll.kill(study, pid, {pid})
        kills -= 1
        pid = nursery.start(run_id)
