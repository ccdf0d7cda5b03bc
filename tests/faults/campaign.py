"""The fault campaign: break the store and its runs in every way that is known, and print one table.

python tests/faults/campaign.py            the long form
python tests/faults/campaign.py --short    about what the test suite does
python tests/faults/campaign.py --scale 0.1    a tenth of the long form's trials
python tests/faults/campaign.py --table docs/reliability.md    renew the table there

Cases run side by side, one per core; the one that signals by the clock comes last and alone.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from contenders import pairs_of_drivers, stopped_holders
from damage import bit_flips, truncations
from disk import mounts_possible, refusals, study_on_full_disk
from document import commit, origin, renew
from failpoints import ACTIONS, Trials, fail_points
from kills import judge_kills, kill_campaign, worker_kills
from powerloss import power_losses
from signalled import signal_campaign
from studies import Result

StudyCase = Callable[[Path, int, int], Result]


@dataclass(frozen=True)
class Case:
    """A row of the table: its trials in the long form and in the short one, and into how many parts it may be cut."""

    name: str
    long: int
    short: int
    parts: int = 1


# The longest first, so that all cores are busy to the end.
CASES = (
    Case("kill -9, driver or worker", 1000, 10, parts=4),
    Case("bit flips", 10_000, 120, parts=2),
    Case("kill -9, short lives", 1000, 40, parts=2),
    Case("power loss", 10_000, 200, parts=2),
    Case("fail points", 1, 5),
    Case("two drivers on one folder", 20, 1),
    Case("SIGSTOP beyond the lease", 10, 1),
    Case("refusing disk", 1, 12),
    Case("full disk, whole study", 1, 1),
    Case("truncation", 1, 1),
)
ALONE = (Case("a signal, then a restart", 100, 5),)
_STUDIES: dict[str, StudyCase] = {
    "kill -9, driver or worker": kill_campaign,
    "kill -9, short lives": worker_kills,
    "two drivers on one folder": pairs_of_drivers,
    "SIGSTOP beyond the lease": stopped_holders,
    "a signal, then a restart": signal_campaign,
}


def perform(name: str, number: int, seed: int) -> tuple[Result, float]:
    """Do ``number`` trials of a case (every ``number``-th, where all are meant); return its row and the seconds."""
    began = time.monotonic()
    place = Path(tempfile.mkdtemp(prefix="dash-hpc-faults-"))
    try:
        if name in _STUDIES:
            result = _STUDIES[name](place, number, seed)
        else:
            function, words = _store_case(name, number, seed)
            trials = function()
            result = Result(name, trials.count, trials.failures, words)
    except Exception as error:
        trace = place / "traceback.txt"
        trace.write_text(traceback.format_exc())
        result = Result(name, 0, [f"{name}: {type(error).__name__}: {error} ({trace})"])
    # What failed stays to be looked at.
    if not result.failures:
        shutil.rmtree(place, ignore_errors=True)
    return result, time.monotonic() - began


def _store_case(name: str, number: int, seed: int) -> tuple[Callable[[], Trials], str]:
    every = "every operation" if number == 1 else f"every {number}th operation"
    return {
        "fail points": (lambda: fail_points(every=number), f"{every} of the store, {len(ACTIONS)} ways"),
        "power loss": (lambda: power_losses(number, seed), "states of unsynced sectors and names"),
        "truncation": (truncations, "every length of a run file"),
        "bit flips": (lambda: bit_flips(number, seed), "any file of a store, plain or compacted"),
        "refusing disk": (lambda: refusals(number), "full at the n-th page or file, read-only, vanished"),
        "full disk, whole study": (study_on_full_disk, "stops with one line, completed by the same command"),
    }[name]


def campaign(*, seed: int, short: bool, scale: float, only: str, jobs: int) -> list[tuple[Result, float]]:
    """Run the cases and return their rows, each with the seconds of its longest part."""
    rows: dict[str, tuple[Result, float]] = {}
    for cases, workers in ((CASES, jobs), (ALONE, 1)):
        tasks = []
        for case in cases:
            if only not in case.name or (case.name.endswith(("disk", "study")) and not mounts_possible()):
                continue
            number = case.short if short else max(1, round(case.long * scale))
            if not short and case.name in ("fail points", "refusing disk"):
                number = min(max(1, round(1 / scale)), 20)
            parts = min(case.parts, jobs, number) if case.parts > 1 else 1
            for part in range(parts):
                tasks.append((case.name, math.ceil((number - part) / parts), seed + 1000 * part))
        # Processes, not threads: cases replace the layer below the store.
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            futures = [pool.submit(perform, *task) for task in tasks]
            for future in as_completed(futures):
                result, seconds = future.result()
                state = f"{result.trials} trials, {len(result.failures)} failures, {seconds:.0f} s"
                print(f"{result.case}: {state}", *result.failures[:3], sep="\n  ", file=sys.stderr, flush=True)
                rows[result.case] = _joined(rows.get(result.case), result, seconds)
    order = [case.name for case in (*CASES, *ALONE)]
    return [rows[name] for name in order if name in rows]


def _joined(before: tuple[Result, float] | None, result: Result, seconds: float) -> tuple[Result, float]:
    if before is None:
        return result, seconds
    first, longest = before
    figures = {
        key: [*first.figures.get(key, []), *result.figures.get(key, [])] for key in {**first.figures, **result.figures}
    }
    failures = [*first.failures, *result.failures]
    both = Result(result.case, first.trials + result.trials, failures, result.words or first.words, figures)
    return (judge_kills(both) if "redone" in figures else both), max(longest, seconds)


def main() -> int:
    """Print the table; exit code 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="about what the test suite does")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the long form's trials [default: 1]")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the random choices [default: the time]")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument(
        "--jobs", type=int, default=len(os.sched_getaffinity(0)), help="cases at a time [default: cores]"
    )
    parser.add_argument("--table", type=Path, help="a document whose table <!-- faults --> is renewed")
    options = parser.parse_args()
    began = time.monotonic()
    rows = campaign(seed=options.seed, short=options.short, scale=options.scale, only=options.only, jobs=options.jobs)
    minutes = (time.monotonic() - began) / 60
    load = os.getloadavg()[0]
    print(f"fault campaign, seed {options.seed}, {minutes:.1f} min, {options.jobs} at a time, load {load:.1f}")
    print(f"{'case':<26} {'trials':>7} {'failures':>8}  figure")
    for result, seconds in rows:
        print(f"{result.case:<26} {result.trials:>7} {len(result.failures):>8}  {result.words}; {seconds:.0f} s")
    failed = [text for result, _ in rows for text in result.failures]
    for text in failed[:20]:
        print(f"failure: {text}")
    if len(failed) > 20:
        print(f"… and {len(failed) - 20} more")
    if options.table is not None:
        cells = [
            (result.case, result.trials, len(result.failures), result.words, round(s), commit()) for result, s in rows
        ]
        line = origin(f"seed {options.seed}", f"{minutes:.0f} min", f"{options.jobs} cases at a time")
        head = ("case", "trials", "failures", "figure", "seconds", "commit")
        renew(options.table, "faults", line, head, cells, whole=not options.only)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
