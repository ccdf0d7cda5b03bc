"""What strategy evidence costs on SIM350 and networks of that size: seconds by stage on one thread, and on two.

From the data in memory to the drives of the model, mode network; of the repeats the one with the least total, with its
stages. Seconds are the processor's, so that they hold on a machine that is not idle too, if less exactly; "wall" is of
the same run, "two threads" the wall time of another, which must find the same bits. Exponents are slopes of ln(total)
over ln(what varies).

Bar: SIM350 with a prior of 5 %, structure and fit, 2 s.

    DASH_HPC_DATA=… python benchmarks/evidence_cost.py [--repeats 3] [--only SIM350 …] [--out …/evidence_cost.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import parser, publish, sim350_spec
from evidence_run import STAGES, data_of, timed

from dash_hpc.data import DataSet, build
from dash_hpc.evidence import model, rounds
from dash_hpc.evidence.decide import EvidenceOptions
from dash_hpc.evidence.finding import find_network

MOST = 2.0
#: Group -> (genes, regulators, trajectories) of simulated networks with 1.6 edges per gene.
SIMULATED = {
    "trajectories": [(350, 32, count) for count in (35, 140, 280)],
    "regulators": [(350, count, 140) for count in (16, 32, 64)],
    "genes": [(genes, genes // 11, 140) for genes in (125, 250, 500, 1000)],
}


def sim350(share: float) -> DataSet:
    """SIM350 with noise of s.d. 0.025 and a published prior."""
    spec = sim350_spec(0, [f"data.prior_noise={share}", "data.expression_noise=0.025"])
    return build(spec["data"], seed=0, base=Path())


def once(dataset: DataSet, threads: int, seconds: dict[str, float]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Times of one run, and what it found."""
    seconds.clear()
    began, wall = time.process_time(), time.perf_counter()
    found = find_network(dataset, EvidenceOptions(), threads)
    structure = time.process_time() - began
    fitted = model.fit_model(found.reading, found.ledger, found.decision, threads)
    total, wall = time.process_time() - began, time.perf_counter() - wall
    row = {"total": total, "structure": structure, "fit_model": total - structure, "wall": wall, **seconds}
    bits = [found.ledger.log_odds, *(drive.slopes for drive in fitted.drives.values())]
    return row, bits


def measured(dataset: DataSet, repeats: int, seconds: dict[str, float], *, two: bool) -> dict[str, Any]:
    """The row of a data set; ``two``: with the wall time of two threads."""
    runs = [once(dataset, 1, seconds) for _ in range(repeats)]
    row, bits = min(runs, key=lambda run: run[0]["total"])
    if two:
        same = [once(dataset, 2, seconds) for _ in range(repeats)]
        row["two_threads"] = min(other["wall"] for other, _ in same)
        if any(not np.array_equal(a, b) for _, found in same for a, b in zip(bits, found, strict=True)):
            raise SystemExit("two threads found something else than one")
    edges = 0 if dataset.prior is None else dataset.prior.n_edges
    return {"genes": dataset.n_genes, "trajectories": len(dataset.train.trajectories), "listed": edges, **row}


def main() -> None:
    made = parser(__doc__, repeats=3)
    made.add_argument("--only", nargs="+", choices=["SIM350", *SIMULATED], help="groups of cases")
    options = made.parse_args()
    torch.set_num_threads(1)
    seconds: dict[str, float] = defaultdict(float)
    for name in STAGES:
        for module in (rounds, model):
            if hasattr(module, name):
                timed(seconds, module, name)
    once(data_of("simulated", 60, 6, 20), 1, seconds)  # loads what is loaded on first use
    rows: list[dict[str, Any]] = []
    for share in (0.05, 0.2) if not options.only or "SIM350" in options.only else ():
        row = measured(sim350(share), options.repeats, seconds, two=True)
        rows.append({"group": "SIM350", "prior": share, **row, "bar": f"total <= {MOST:g} s" if share < 0.1 else None})
        print(rows[-1], flush=True)
    known: dict[tuple[int, int, int], dict[str, Any]] = {}
    for group, cases in SIMULATED.items():
        if options.only and group not in options.only:
            continue
        for case in cases:
            if case not in known:
                row = measured(data_of("simulated", *case), options.repeats, seconds, two=False)
                known[case] = {"prior": 0.05, "regulators": case[1], **row}
                print(known[case], flush=True)
        found = [{"group": group, **known[case]} for case in cases]
        logs = np.log([[row[group], row["total"]] for row in found]).T
        rows += [*found, {"group": group, "exponent": float(np.polyfit(*logs, 1)[0])}]
    columns = {
        "group": "", "genes": ",d", "regulators": "d", "trajectories": "d", "listed": ",d", "prior": ".0%",
        "total": ".2f", "structure": ".2f", "fit_model": ".2f", "evidence": ".2f", "smoothing": ".2f", "rates": ".2f",
        "wall": ".2f", "two_threads": ".2f", "exponent": ".2f", "bar": "",
    }  # fmt: skip
    publish("evidence_cost", rows, columns, options.out)


if __name__ == "__main__":
    main()
