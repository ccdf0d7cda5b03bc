"""What scores and selection cost in a whole fit: their share for 350 to 11,165 genes.

The fit is DASH with the schedule of the paper (70 % at epoch 3, then 10 % of the rest at epochs 10, 20, …, 190 of 200)
and its sizes: SIM350, and 2,000, 4,000 and 11,165 genes (90, 130, 300 hidden units). These stand three times: as SIM350
is, 140 trajectories of 4 pairs with intervals of 1 to 4; and as the breast cancer data are, 169 pairs with intervals of
0.005, in batches of 16: with the loss that was published for them (0.999 of the data's, the rest a prior loss over
10,000 points), and with the data's alone, where a solve is one or two steps and nothing else is to be done. Priors are
sparse: the published STRING interactions among these genes where DASH_HPC_DATA has them, and a random map of four edges
per gene, since none was published for these gene lists. Expression is synthetic there.

The trainer runs and its own clocks are read. With 350 genes the whole fit is measured. With more genes each level of
sparsity is trained for one epoch instead of ten (seven for the first), every event is real, and the epochs are
multiplied: "fit" is 2 dense epochs + 7 of the first level + 10 of each other (11 of the last). Of the 140 trajectories
20 are trained (10 for 11,165 genes), and half of these, and an epoch of 140 is the straight line through both. With the
prior loss one batch is trained in each epoch, and an epoch of all pairs is that times pairs / 16. Before that, the
prior terms of the native operator are compared with their twin.

    DASH_HPC_DATA=… python benchmarks/overhead.py [--genes 350 2000 4000 11165] [--out benchmarks/results/overhead.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import parser, publish, sim350_spec
from pseudotime import PAIRS, pseudotime_data, trajectory_data

from dash_hpc.data import DataSet, build
from dash_hpc.ops import prior_terms
from dash_hpc.ops.least_squares import normal_equations
from dash_hpc.rng import stream
from dash_hpc.training import Trainer

HIDDEN = {350: 40, 2000: 90, 4000: 130, 11_165: 300}
EPOCHS, EVENTS = 200, 20  # events at 3, 10, 20, ..., 190
TRAJECTORIES, BATCH = 140, 16
BAR = 0.01


def large_spec(genes: int, **training: Any) -> dict[str, Any]:
    """The run of SIM350 with other sizes and an event at each epoch from 3 to 22 of 23."""
    spec = sim350_spec(0)
    spec["model"] = {**spec["model"], "hidden": HIDDEN[genes]}
    spec["training"] = {**spec["training"], "epochs": 3 + EVENTS, "lr": 1e-4, **training}
    spec["schedule"] = {**spec["schedule"], "every": 1}
    return spec


def check(dataset: DataSet, hidden: int) -> None:
    """Compare the native prior terms with their twin."""
    S = stream(0, "benchmark-overhead-check", dataset.n_genes).random((hidden, dataset.n_genes))
    C, P = dataset.prior.interactions(), dataset.prior.target_by_regulator()
    found = prior_terms(S, C, P)
    _, wanted = normal_equations(S, C, P, 1e-10)
    for name in ("first", "second"):
        one, two = getattr(found, name), getattr(wanted, name)
        if not np.abs(one - two).max() <= 1e-8 * np.abs(two).max():
            raise SystemExit(f"{dataset.n_genes} genes: the {name} prior term differs from its twin")


def fit(dataset: DataSet, spec: dict[str, Any]) -> dict[str, float]:
    """Seconds of a fit of 200 epochs, by part."""
    done = Trainer(dataset, spec).fit()
    history = {name: np.array(values) for name, values in done.history.items()}
    weight = np.ones(EPOCHS)
    if len(history["epoch"]) != EPOCHS:
        # epochs 1, 2: dense; 3 to 9: first level; then one epoch for each ten; epoch 200 is like those before
        weight = np.array([1.0, 1.0, 7.0, *[10.0] * (EVENTS - 1), 1.0])
    seconds = {name: float((weight * history[f"seconds_{name}"]).sum()) for name in ("train", "validation")}
    # events are not multiplied; in the short form each is there once, as in the long one
    seconds |= {name: float(history[f"seconds_{name}"].sum()) for name in ("score", "select")}
    seconds["events"] = len({event["epoch"] for event in done.events})
    return seconds


def cases(genes: int) -> tuple[str, DataSet, dict[str, Callable[[], dict[str, float]]]]:
    """A word on the prior, a data set that has it, and what to measure: name -> seconds of the parts of a fit."""
    if genes == 350:
        spec = sim350_spec(0)
        dataset = build(spec["data"], seed=0, base=Path())
        return "published", dataset, {"SIM350": lambda: fit(dataset, spec)}
    breast, words = pseudotime_data(genes)
    count = 20 if genes < 10_000 else 10
    many, _ = trajectory_data(genes, count)
    few, _ = trajectory_data(genes, count // 2)
    one_batch, _ = pseudotime_data(genes, BATCH)
    by_trajectory, by_pair = large_spec(genes), large_spec(genes, batch="single", batch_size=BATCH)
    with_prior = large_spec(genes, batch="single", batch_size=BATCH, tau=0.999)

    def as_sim350() -> dict[str, float]:
        of_many, of_few = fit(many, by_trajectory), fit(few, by_trajectory)
        each = (of_many["train"] - of_few["train"]) / (count - count // 2)
        return {**of_many, "train": of_many["train"] + (TRAJECTORIES - count) * each}

    def as_breast() -> dict[str, float]:
        found = fit(one_batch, with_prior)
        return {**found, "train": found["train"] * PAIRS / BATCH}

    kinds = {"as SIM350": as_sim350, "as breast": as_breast, "as breast, no prior loss": lambda: fit(breast, by_pair)}
    return words, breast, kinds


def share(seconds: dict[str, float]) -> float:
    events = seconds["score"] + seconds["select"]
    return events / (events + seconds["train"] + seconds["validation"])


def main() -> None:
    made = parser(__doc__, repeats=1)
    made.add_argument("--genes", type=int, nargs="+", default=list(HIDDEN), choices=list(HIDDEN))
    options = made.parse_args()
    torch.set_num_threads(1)
    rows = []
    for genes in options.genes:
        words, dataset, kinds = cases(genes)
        check(dataset, HIDDEN[genes])
        for kind, measure in kinds.items():
            fits = sorted((measure() for _ in range(options.repeats)), key=share)
            middle = fits[(len(fits) - 1) // 2]
            rows.append(
                {
                    "genes": genes, "hidden": HIDDEN[genes], "data": kind, "prior": words, **middle,
                    "score_ms": 1e3 * middle["score"] / middle["events"],
                    "select_ms": 1e3 * middle["select"] / middle["events"],
                    "share_min": share(fits[0]), "share_median": share(middle), "bar": BAR,
                }
            )  # fmt: skip
    columns = {
        "genes": ",d", "hidden": "d", "data": "s", "prior": "s", "events": ".0f", "train": ".2f",
        "validation": ".2f", "score": ".3f", "select": ".3f", "score_ms": ".1f", "select_ms": ".1f",
        "share_min": ".2%", "share_median": ".2%", "bar": ".0%",
    }  # fmt: skip
    publish("overhead", rows, columns, options.out, options.repeats)


if __name__ == "__main__":
    main()
