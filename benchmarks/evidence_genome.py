"""What strategy evidence costs on large data sets: seconds by stage and peak memory, against what makes it dear.

Simulated networks of 1.6 edges per gene with trajectories of five time points and noise of s.d. 0.025, a prior with 5 %
of its edges moved; expression along a pseudotime of 170 points as in the breast cancer data, with a random prior of
four edges per gene, and of sixteen, about as many as that of 500 genes has (the published course and prior of 11,165
genes are not to be had); the published breast cancer data of 500 genes. Each is a process of its own (evidence_run.py),
from the data in memory to the model's tensors; its seconds are the processor's on one thread, so that they hold on a
machine that is not idle too, if less exactly.

Exponents are slopes of ln(seconds) over ln(genes), ln(trajectories), ln(regulators), ln(candidates), through the rows
in which nothing else changes.

Bars: 11,165 genes below 4 GB.

    DASH_HPC_DATA=… python benchmarks/evidence_genome.py [--only genes trajectories …] [--out …/evidence_genome.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import parser, publish

GENES, REGULATORS, TRAJECTORIES, CANDIDATES = 2000, 180, 20, 200
PER_REGULATOR = 11  # genes
MOST_GB = 4.0
CASES: dict[str, list[tuple[str, int, int, int, int]]] = {
    "genes": [("simulated", genes, genes // PER_REGULATOR, TRAJECTORIES, CANDIDATES) for genes in (2000, 4000, 11_165)],
    "trajectories": [("simulated", GENES, GENES // PER_REGULATOR, count, CANDIDATES) for count in (10, 20, 80)],
    "regulators": [("simulated", GENES, count, TRAJECTORIES, CANDIDATES) for count in (90, 181, 720)],
    "candidates": [("simulated", GENES, GENES // PER_REGULATOR, TRAJECTORIES, count) for count in (50, 200, 800)],
    "pseudotime": [("pseudotime", genes, 4, 1, CANDIDATES) for genes in (1100, 11_165)],
    "dense prior": [("pseudotime", 11_165, 16, 1, CANDIDATES)],
    "published": [("breast_500", 0, 0, 1, CANDIDATES)],
}
VARIES = {"genes": "genes", "trajectories": "trajectories", "regulators": "regulators", "candidates": "looked_at",
          "pseudotime": "genes"}  # fmt: skip


def measured(case: tuple[str, int, int, int, int]) -> dict[str, Any]:
    """What evidence_run.py says."""
    program = Path(__file__).with_name("evidence_run.py")
    done = subprocess.run(
        [sys.executable, str(program), *map(str, case)], stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def slope(rows: list[dict[str, Any]], name: str) -> float:
    """Of ln(seconds) over ln(name)."""
    return float(np.polyfit(np.log([row[name] for row in rows]), np.log([row["total"] for row in rows]), 1)[0])


def main() -> None:
    made = parser(__doc__, repeats=1)
    made.add_argument("--only", nargs="+", choices=[*CASES], help="groups of cases")
    options = made.parse_args()
    torch.set_num_threads(1)
    known: dict[tuple[str, int, int, int, int], dict[str, Any]] = {}
    rows = []
    for group, cases in CASES.items():
        if options.only and group not in options.only:
            continue
        for case in cases:
            if case not in known:
                known[case] = measured(case)
                print(known[case], flush=True)
        found = [known[case] for case in cases]
        for row in found:
            bar = f"peak_gb < {MOST_GB:g}" if row["genes"] > 10_000 else None
            rows.append({"group": group, **row, "peak_gb": row["peak_bytes"] / 1e9, "bar": bar})
        if len(found) > 1:
            rows.append({"group": group, "exponent_of": VARIES[group], "exponent": slope(found, VARIES[group])})
    columns = {
        "group": "", "genes": ",d", "listed": ",d", "regulators": ",d", "trajectories": "d", "points": "d",
        "looked_at": ".0f", "total": ",.1f", "wall": ",.1f", "peak_gb": ".2f", "exponent_of": "", "exponent": ".2f",
        "bar": "",
    }  # fmt: skip
    publish("evidence_genome", rows, columns, options.out)
    if any(row.get("peak_gb", 0.0) >= MOST_GB for row in rows):
        raise SystemExit(f"a run took {MOST_GB:g} GB or more")


if __name__ == "__main__":
    main()
