"""Two processes at one study: drivers that start at once, and a holder that wakes after its lease has run out."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from studies import PATIENCE, Result, Study, differences, first_new_epoch, pause, send, undisturbed, wait

from dash_hpc.store import compare_runs, planned_spec

EPOCHS = 500


def pairs_of_drivers(folder: Path, pairs: int, seed: int, epochs: int = EPOCHS, whole: Study | None = None) -> Result:
    """Two drivers on one folder at once: one works, the other leaves with one line and exit code 2."""
    rng = random.Random(seed)
    result = Result("two drivers on one folder")
    whole = whole or undisturbed(folder, epochs)
    for pair in range(1, pairs + 1):
        study = Study(folder, epochs, f"pair-{pair}")
        first = study.start()
        time.sleep(rng.choice([0.0, 0.0, rng.uniform(0.0, 2.0)]))
        second = study.start()
        codes = sorted([wait(first), wait(second)])
        result.trials += 1
        # Both may succeed: the second may find everything done.
        if codes not in ([0, 2], [0, 0]):
            result.failures.append(f"pair {pair}: exit codes {codes}; see {study.log}")
        if codes == [0, 2] and study.log.read_text().count("is at work on it") != 1:
            result.failures.append(f"pair {pair}: the second driver did not name the first; see {study.log}")
        result.failures += differences(whole, study)
        journal = (study.output / "log" / "driver.log").read_text()
        result.failures += [
            f"pair {pair}: run {run_id} was done {count} times"
            for run_id in study.runs()
            if (count := journal.count(f"run {run_id}: done")) != 1
        ]
    result.words = "every run exactly once"
    return result


_ELSEWHERE = """
import sys, time
from dash_hpc.execution.claims import lease, lease_file
lease.place = lease_file.place = lambda: sys.argv[3]
from dash_hpc.execution.work.one_run import run_one
while (status := run_one(sys.argv[1], sys.argv[2])) == "held":
    time.sleep(0.1)
print(status)
"""


def _trains(study: Study, run_id: str) -> bool:
    return bool(planned_spec(study.output, run_id)["strategy"]["name"] != "evidence")


def stopped_holders(folder: Path, trials: int, seed: int, epochs: int = EPOCHS, whole: Study | None = None) -> Result:
    """SIGSTOP a worker for longer than its lease, as on another machine, let somebody else finish, then SIGCONT."""
    rng = random.Random(seed)
    result = Result("SIGSTOP beyond the lease")
    whole = whole or undisturbed(folder, epochs)
    for trial in range(1, trials + 1):
        study = Study(folder, epochs, f"stopped-{trial}", lease_seconds=1.0)
        # Not one that is computed in its only epoch: it has nothing that could go on elsewhere.
        run_id = rng.choice([key for key in sorted(study.plan()) if _trains(study, key)])

        def worker(place: str, study: Study = study, run_id: str = run_id) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [sys.executable, "-c", _ELSEWHERE, str(study.output), run_id, place],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**study.environment, "OMP_NUM_THREADS": "1"},
            )

        first = worker("one machine")
        first_new_epoch(study, first, ())
        pause(first, rng.uniform(0.0, 0.2))
        send(first.pid, signal.SIGSTOP)
        second = worker("another machine")
        outcome = second.communicate(timeout=PATIENCE)[0].decode().strip()
        before = study.runs()[run_id].read_bytes()
        send(first.pid, signal.SIGCONT)
        late = first.communicate(timeout=PATIENCE)[0].decode().strip()
        result.trials += 1
        # The first gives up, tries again, and finds the run done.
        if (outcome, late) != ("done", "done"):
            result.failures.append(f"trial {trial}: the two ended as {outcome!r} and {late!r}")
        if study.runs()[run_id].read_bytes() != before:
            result.failures.append(f"trial {trial}: the record was written again by the former holder")
        result.failures += compare_runs(study.runs()[run_id], whole.runs()[run_id])
    result.words = "one record each, untouched by the former holder"
    return result
