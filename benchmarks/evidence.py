"""What strategy evidence finds: development data, fresh draws, other networks, other noise, and controls.

Each case is a data set and a prior, built anew per seed; one run of strategy evidence for each mode. Nothing is chosen
here: options are the defaults, and reference and test set are looked at by the evaluation alone. Of a case's runs the
mean and the s.d. (n − 1) are told. "SIM350, published prior" is what the method was developed on; its other draws, and
the simulated networks, were not looked at before their seeds stood here.

The controls: trajectories of each gene permuted on their own (their steps stay, what they have in common goes), the
prior with regulator and target exchanged, with its genes renamed at random, without an edge, none, and the prior taken
as the network. Group "predictors": what others make of the same rows and of the same fit (``predictors.py``).

For nominal false discovery rates of 5, 10 and 20 % the most probable edges are taken as long as their mean 1 − p is
below that; the share of false ones among them is the realised rate, the same where probabilities can be trusted.

76 runs, about 11 minutes of processor time; not a part of `make bench`. No times are measured.

    DASH_HPC_DATA=… python benchmarks/evidence.py [--seeds 3] [--only simulated …] [--workers 2] [--out …/evidence.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import parser, publish, sim350_spec
from predictors import fitted_rows, predicted_rows
from scipy.sparse import csr_array

from dash_hpc.data import CATALOGUE, DataSet, Prior, TimeCourse, build
from dash_hpc.data.catalogue import DATA_ROOT
from dash_hpc.data.simulator import System, read_edge_table, trajectories
from dash_hpc.errors import RunFailed
from dash_hpc.evaluation import evaluate, structural_edges, structure_controls
from dash_hpc.rng import stream
from dash_hpc.training import Trainer

MODES = ("network", "recall")
NOMINAL = (0.05, 0.1, 0.2)
FRESH = 101  # first seed of draws that nobody has looked at
NETWORKS = {  # genes, regulators, edges, seed
    "150 genes, 400 edges": (150, 30, 400, 2101),
    "350 genes, 500 edges": (350, 60, 500, 2102),
    "500 genes, 1,500 edges": (500, 90, 1500, 2103),
}
METRICS = {  # column -> metric of dash_hpc.evaluation
    "balanced_accuracy": "balanced_accuracy",
    "precision": "precision",
    "tpr": "tpr",
    "found": "recovered_missing",
    "test_mse": "test_mse",
    "sparsity": "sparsity",
    "active_weights": "active_weights",
}


def sim350(seed: int, *, share: float, noise: float = 0.025) -> DataSet:
    """SIM350 with a published prior."""
    spec = sim350_spec(seed, [f"data.prior_noise={share}", f"data.expression_noise={noise}"])
    return build(spec["data"], seed=seed, base=Path())


def redrawn(seed: int, *, share: float) -> DataSet:
    """SIM350 with noise of its own and a prior of its own: the true network, edges moved to random places."""
    dataset = sim350(seed, share=0)
    return replace(dataset, prior=_prior(dataset).corrupt(share, stream(seed, "benchmark-evidence-prior")))


def without(seed: int) -> DataSet:
    """SIM350 without a prior."""
    return replace(sim350(seed, share=0.05), prior=None)


def spread(seed: int, *, share: float) -> DataSet:
    """SIM350's network, kinetics and starts, solved anew with a rate per gene, log-uniform in (1/2, 2).

    ``seed`` draws the noise; the rates are the same for all seeds.
    """
    dataset = sim350(seed, share=share, noise=0.0)
    table = Path(os.environ[DATA_ROOT]) / CATALOGUE["sim350"].folder / "edge_properties.csv"
    rates = np.exp(stream(0, "benchmark-evidence-rates").uniform(-np.log(2), np.log(2), dataset.n_genes))
    system = System(read_edge_table(table, dataset.genes), tau=1 / rates)

    def solved(course: TimeCourse) -> TimeCourse:
        starts = np.stack([trajectory.values[0] for trajectory in course.trajectories])
        times = course.trajectories[0].times
        values = trajectories(system, starts, times, tolerance=1e-7)
        return TimeCourse.from_arrays(list(values), [times] * len(values), dataset.genes)

    def noisy(course: TimeCourse, part: str) -> TimeCourse:
        return solved(course).with_noise(0.025, stream(seed, "benchmark-evidence-noise", part))

    if dataset.test is None:
        raise SystemExit("SIM350 has a test set")
    return replace(
        dataset,
        train=noisy(dataset.train, "train"),
        validation=noisy(dataset.validation, "validation"),
        test=solved(dataset.test),
    )


def simulated(seed: int, *, name: str, share: float) -> DataSet:
    """A network of the simulator, with 140 trajectories to train on; ``seed`` draws the noise."""
    genes, regulators, edges, own = NETWORKS[name]
    spec = {
        "kind": "simulate", "genes": genes, "regulators": regulators, "edges": edges, "trajectories": 150,
        "test_trajectories": 10, "times": [0.0, 2.0, 3.0, 7.0, 9.0], "seed": own, "validation": 1 / 15,
        "expression_noise": 0.025, "prior_noise": share,
    }  # fmt: skip
    return build(spec, seed=seed, base=Path())


def shuffled(seed: int, *, share: float) -> DataSet:
    """SIM350 with the training trajectories of each gene in an order of their own."""
    dataset = sim350(seed, share=share)
    courses = dataset.train.trajectories
    values = np.stack([course.values for course in courses])
    rng = stream(seed, "benchmark-evidence-shuffle")
    for gene in range(dataset.n_genes):
        values[:, :, gene] = values[rng.permutation(len(values)), :, gene]
    return replace(dataset, train=TimeCourse.from_arrays(values, [course.times for course in courses], dataset.genes))


def turned(seed: int, *, share: float) -> DataSet:
    """SIM350 with every edge of the prior turned round."""
    dataset = sim350(seed, share=share)
    prior = _prior(dataset)
    return replace(dataset, prior=replace(prior, motif=csr_array(prior.motif.T)))


def renamed(seed: int, *, share: float) -> DataSet:
    """SIM350 with the genes of the prior renamed at random: its degrees stay, what it says does not."""
    dataset = sim350(seed, share=share)
    prior = _prior(dataset)
    order = stream(seed, "benchmark-evidence-rename").permutation(dataset.n_genes)
    return replace(dataset, prior=replace(prior, motif=csr_array(csr_array(prior.motif)[order][:, order])))


def emptied(seed: int) -> DataSet:
    """SIM350 with a prior that lists nothing."""
    dataset = sim350(seed, share=0.05)
    return replace(dataset, prior=Prior.from_arrays(np.zeros((dataset.n_genes,) * 2), dataset.genes))


def _prior(dataset: DataSet) -> Prior:
    if dataset.prior is None:
        raise SystemExit(f"{dataset.name} has a prior")
    return dataset.prior


@dataclass(frozen=True)
class Case:
    """One row per mode: a data set per seed."""

    group: str
    name: str
    make: Callable[[int], DataSet]
    seeds: tuple[int, ...]


def cases(seeds: int, fresh: int) -> list[Case]:
    """All of them; ``seeds`` draws of the published kind, ``fresh`` new ones."""
    usual, few = tuple(range(seeds)), tuple(range(min(seeds, 2)))
    new = tuple(range(FRESH, FRESH + fresh))
    found: list[Case] = []
    for share in (0.05, 0.2):
        told = f"{share:.0%}"
        found += [
            Case("development", f"SIM350, published prior, {told}", partial(sim350, share=share), usual),
            Case("fresh", f"SIM350, new noise, new prior, {told}", partial(redrawn, share=share), new),
            *(
                Case("simulated", f"{name}, {told}", partial(simulated, name=name, share=share), new[:1])
                for name in NETWORKS
            ),
            Case("rates", f"SIM350, rates spread, {told}", partial(spread, share=share), usual),
            Case("noise", f"SIM350, no noise, {told}", partial(sim350, share=share, noise=0.0), (0,)),
            Case("noise", f"SIM350, noise .05, {told}", partial(sim350, share=share, noise=0.05), few),
        ]
    found += [
        Case("none", "SIM350, no prior", without, usual),
        Case("controls", "SIM350, shuffled, 5%", partial(shuffled, share=0.05), usual),
        Case("controls", "SIM350, prior reversed, 5%", partial(turned, share=0.05), (0,)),
        Case("controls", "SIM350, prior renamed, 5%", partial(renamed, share=0.05), few),
        Case("controls", "SIM350, prior empty", emptied, (0,)),
        Case("predictors", "SIM350, published prior, 5%", partial(sim350, share=0.05), (0,)),
        Case("predictors", "SIM350, published prior, 20%", partial(sim350, share=0.2), (0,)),
    ]
    return found


def run(case: Case, seed: int, modes: Iterable[str]) -> list[dict[str, Any]]:
    """One row per mode, and one of the prior itself."""
    torch.set_num_threads(1)
    dataset = case.make(seed)
    if case.group == "predictors":
        return [*predicted_rows(dataset), *fitted_rows(dataset)]
    rows = [prior_row(dataset)] if dataset.prior is not None and dataset.prior.n_edges else []
    base = sim350_spec(seed)
    for mode in modes:
        spec = {**base, "strategy": {"name": "evidence", "mode": mode}}
        trainer = Trainer(dataset, spec)
        try:
            fit = trainer.fit()
        except RunFailed as reason:
            rows.append({"mode": mode, "failed": str(reason)})
            continue
        evidence = trainer.strategy.evidence()
        if fit.kept is None or evidence is None:
            raise SystemExit(f"{case.name}: the run kept no model")
        measured = evaluate(fit.kept.weights, fit.kept.masks, dataset, solver=spec["solver"], model=spec["model"])
        row = {column: measured.get(metric) for column, metric in METRICS.items()}
        if "rejected_spurious" in measured:
            row["spurious_kept"] = 1 - measured["rejected_spurious"]
        facts = evidence.facts
        row |= {"mode": mode, "edges": facts["taken"], "new": facts["new"], "expected_fdr": facts["expected_fdr"]}
        row |= {name: facts[name] for name in ("corruption", "decided_targets", "median_power")}
        row["realised_fdr"] = 1 - measured.get("precision", float("nan"))
        right = _right(evidence.edges, dataset)
        row["false_new"] = int((evidence.edges["taken"] & ~evidence.edges["listed"] & ~right).sum())
        if trainer.strategy.notes():
            row["prior_alone"] = 1
        rows.append(row | _nominal(evidence.edges, right))
        if int(structural_edges(fit.kept.weights, fit.kept.masks).sum()) != facts["taken"]:
            raise SystemExit(f"{case.name}: the model has other edges than the table")
    return rows


def prior_row(dataset: DataSet) -> dict[str, Any]:
    """The prior taken as the network."""
    counts = structure_controls(_prior(dataset).motif, dataset.truth)["prior"]
    return {
        "mode": "prior itself", "balanced_accuracy": counts.balanced_accuracy, "precision": counts.precision,
        "tpr": counts.tpr, "found": 0.0, "spurious_kept": 1.0, "edges": _prior(dataset).n_edges, "new": 0,
        "false_new": 0, "realised_fdr": 1 - counts.precision,
    }  # fmt: skip


def _right(edges: dict[str, np.ndarray], dataset: DataSet) -> np.ndarray:
    """Which edges of the table the reference has."""
    place = {gene: number for number, gene in enumerate(dataset.genes)}
    truth = dataset.truth
    if truth is None:
        raise SystemExit(f"{dataset.name} has a reference network")
    whole = truth.toarray() != 0
    pairs = [(place[a], place[b]) for a, b in zip(edges["regulator"], edges["target"], strict=True)]
    return np.array([whole[pair] for pair in pairs], dtype=bool)


def _nominal(edges: dict[str, np.ndarray], right: np.ndarray) -> dict[str, float]:
    """Realised false discovery rates of the most probable edges, by nominal rate."""
    order = np.argsort(-edges["probability"], kind="stable")
    held = np.cumsum(1 - edges["probability"][order]) / np.arange(1, len(order) + 1)
    found = {}
    for level in NOMINAL:
        taken = int(np.searchsorted(held, level, side="right"))  # held never falls
        if 0 < taken < len(order):
            found[f"realised_at_{level:g}"] = float(1 - right[order][:taken].mean())
    return found


def together(case: Case, mode: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the runs of a case, and the s.d. of what people look at."""
    row: dict[str, Any] = {"group": case.group, "case": case.name, "mode": mode, "seeds": list(case.seeds)}
    for name in dict.fromkeys(key for found in rows for key in found if key not in ("mode", "failed")):
        values = [found[name] for found in rows if found.get(name) is not None]
        if values:
            row[name] = float(np.mean(values))
        if len(values) > 1 and name in ("balanced_accuracy", "precision", "found", "spurious_kept", "test_mse"):
            row[f"{name}_sd"] = float(np.std(values, ddof=1))
    failed = [found["failed"] for found in rows if "failed" in found]
    return row | ({"failed": failed} if failed else {})


def main() -> None:
    made = parser(__doc__, repeats=1)
    made.add_argument("--seeds", type=int, default=3, help="draws of noise on the published data (default 3)")
    made.add_argument("--fresh", type=int, default=5, help="new draws of noise and prior (default 5)")
    made.add_argument("--only", nargs="+", help="groups of cases (development, fresh, simulated, noise, …)")
    made.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    options = made.parse_args()
    chosen = [case for case in cases(options.seeds, options.fresh) if not options.only or case.group in options.only]
    rows = []
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = [(case, [pool.submit(run, case, seed, MODES) for seed in case.seeds]) for case in chosen]
        for case, futures in waiting:
            found = [row for future in futures for row in future.result()]
            for mode in dict.fromkeys(row["mode"] for row in found):
                rows.append(together(case, mode, [row for row in found if row["mode"] == mode]))
                print(rows[-1], flush=True)
    columns = {
        "case": "", "mode": "", "balanced_accuracy": ".4f", "precision": ".3f", "found": ".3f", "spurious_kept": ".3f",
        "edges": ".0f", "false_new": ".1f", "test_mse": ".2e", "sparsity": ".4f", "expected_fdr": ".3f",
        "realised_fdr": ".3f",
    }  # fmt: skip
    publish("evidence", rows, columns, options.out)


if __name__ == "__main__":
    main()
