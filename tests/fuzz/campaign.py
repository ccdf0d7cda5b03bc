"""The fuzz campaign: changed and forged files of every kind, and one table.

python tests/fuzz/campaign.py                 ten minutes (FUZZ_SECONDS), the kinds side by side, one per core
python tests/fuzz/campaign.py --only plan     kinds whose name contains this
python tests/fuzz/campaign.py --seed 7 --only plan --case 123    one case again, with what goes wrong
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from document import commit, origin, renew
from harness import Tally, fuzz
from registry import KINDS

_HEAD = (
    "file",
    "cases",
    "refused",
    "equal",
    "forged and harmless",
    "tracebacks",
    "hangs",
    "silent alterations",
    "seconds",
)


def perform(name: str, seed: int, seconds: float) -> Tally:
    """Fuzz one kind for so long."""
    (make,) = [kind for kind in KINDS if kind.name == name]
    return fuzz(make(), seed=seed, seconds=seconds)


def row(tally: Tally) -> tuple[object, ...]:
    """A row of the table; a process that died counts as a traceback."""
    counts = tally.outcomes
    return (
        tally.kind,
        tally.cases,
        counts["refused"],
        counts["equal"],
        counts["other"],
        counts["tracebacks"] + counts["crashes"],
        counts["hangs"],
        counts["alterations"],
        round(tally.seconds),
    )


def main() -> int:
    """Print the table; exit code 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seconds", type=float, default=float(os.environ.get("FUZZ_SECONDS", "600")), help="in all [default: 600]"
    )
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the random choices [default: the time]")
    parser.add_argument("--only", default="", help="kinds whose name contains this")
    parser.add_argument("--case", type=int, help="one case of each kind, by its number")
    parser.add_argument(
        "--jobs", type=int, default=len(os.sched_getaffinity(0)), help="kinds at a time [default: cores]"
    )
    parser.add_argument("--table", type=Path, help="a document whose table <!-- fuzz --> is renewed")
    options = parser.parse_args()
    names = [kind.name for kind in KINDS if options.only in kind.name]
    if options.case is not None:
        tallies = [fuzz(make(), seed=options.seed, cases=1, first=options.case) for make in KINDS if make.name in names]
    else:
        each = options.seconds * min(options.jobs, len(names)) / max(len(names), 1)
        tallies = []
        with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
            for future in as_completed([pool.submit(perform, name, options.seed, each) for name in names]):
                tally = future.result()
                print(*row(tally)[:2], *tally.failures[:5], sep="\n  ", file=sys.stderr, flush=True)
                tallies.append(tally)
        tallies.sort(key=lambda tally: names.index(tally.kind))
    rows = [row(tally) for tally in tallies]
    widths = [max(len(str(line[k])) for line in (_HEAD, *rows)) for k in range(len(_HEAD))]
    for line in (_HEAD, *rows):
        print("  ".join(str(cell).ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    failed = [text for tally in tallies for text in tally.failures]
    for text in failed[:40]:
        print(f"failure: {text}")
    if options.table is not None:
        line = origin(f"seed {options.seed}", f"{options.jobs} kinds at a time")
        cells = [(*row, commit()) for row in rows]
        renew(options.table, "fuzz", line, (*_HEAD, "commit"), cells, whole=not options.only)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
