"""The fault campaign: break the store and its runs in every way that is known, and print one table.

python tests/faults/campaign.py            the long form (about half an hour)
python tests/faults/campaign.py --short    what the test suite does (a minute)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from damage import bit_flips, truncations
from disk import mounts_possible, refusals, study_on_full_disk
from failpoints import ACTIONS, Trials, fail_points
from powerloss import power_losses


def _store_cases(long: bool, seed: int) -> list[tuple[str, Callable[[], Trials], str]]:
    points = (
        (lambda: fail_points()) if long else (lambda: fail_points(("ENOSPC", "half a write", "death before"), every=5))
    )
    cases = [
        ("fail points", points, f"every operation of the store, {len(ACTIONS)} ways" if long else "every 5th, 3 ways"),
        ("power loss", lambda: power_losses(10_000 if long else 200, seed), "states of unsynced sectors and names"),
        ("truncation", truncations, "every length of a run file"),
        ("bit flips", lambda: bit_flips(10_000 if long else 120, seed), "any file of a store, plain or compacted"),
    ]
    if mounts_possible():
        cases.append(("refusing disk", lambda: refusals(1 if long else 12), "full at every page, read-only, vanished"))
        cases.append(
            ("full disk, whole study", study_on_full_disk, "stops with one line, completed by the same command")
        )
    return cases


def _run_cases(long: bool, seed: int) -> list[tuple[str, int, list[str], str]]:
    """Kills, signals and leases of whole studies: (case, trials, failures, figure) each."""
    from kills import kill_campaign, pairs_of_drivers, signal_campaign, stopped_holders

    cases: list[tuple[Callable[[Path, int, int], Any], int]] = [
        (kill_campaign, 1000 if long else 50),
        (signal_campaign, 100 if long else 5),
        (pairs_of_drivers, 20 if long else 2),
        (stopped_holders, 5 if long else 1),
    ]
    rows = []
    for function, number in cases:
        with tempfile.TemporaryDirectory(prefix="dash-hpc-kills-") as place:
            began = time.monotonic()
            result = function(Path(place), number, seed)
        seconds = f"{time.monotonic() - began:.0f} s"
        rows.append((str(result.case), int(result.trials), list(result.failures), f"{result.figure}; {seconds}"))
        print(f"{result.case}: {result.trials} trials, {len(result.failures)} failures", file=sys.stderr, flush=True)
    return rows


def campaign(*, long: bool, seed: int, only: str = "") -> list[tuple[str, int, list[str], str]]:
    """Run all cases and return (case, trials, failures, figure) for each."""
    rows = []
    for name, function, words in _store_cases(long, seed):
        if only and only not in name:
            continue
        began = time.monotonic()
        trials = function()
        rows.append((name, trials.count, trials.failures, f"{words}; {time.monotonic() - began:.0f} s"))
        print(f"{name}: {trials.count} trials, {len(trials.failures)} failures", file=sys.stderr, flush=True)
    if (Path(__file__).parent / "kills.py").exists() and (not only or only in "kills"):
        rows += _run_cases(long, seed)
    return rows


def main() -> int:
    """Print the table; exit code 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="the form of the test suite")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the random choices [default: the time]")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    options = parser.parse_args()
    rows = campaign(long=not options.short, seed=options.seed, only=options.only)
    print(f"fault campaign, seed {options.seed}")
    print(f"{'case':<24} {'trials':>7} {'failures':>8}  figure")
    for case, trials, failures, figure in rows:
        print(f"{case:<24} {trials:>7} {len(failures):>8}  {figure}")
    failed = [text for _, _, failures, _ in rows for text in failures]
    for text in failed[:20]:
        print(f"failure: {text}")
    if len(failed) > 20:
        print(f"… and {len(failed) - 20} more")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
