"""Strategy evidence on the benchmarks of others: DREAM4, Bacillus subtilis, yeast; beside what needs no model.

Rankings are of all pairs of possible regulators and targets, self-pairs left out, by log-odds; pairs that were not
looked at come last. Average precision takes pairs of equal rank together. Nothing is chosen here: options are the
defaults, and the reference is looked at for the figures alone.

DREAM4: the time series of the networks of 100 genes, ten per network; a stimulus of unknown targets is on from 0 to
500 and may be another one in each series. Without a prior, and with the reference as one of which 5 or 20 % of the
edges are moved to random places, five draws. Controls: the design not told, correlations, the out-degree of the
reference, evidence against a reference whose genes have each other's names; with a prior the prior itself, and with
the residual correlation among equals.

B. subtilis: for each seed 20 % of the genes with a known regulator lose all of their edges in the prior, and the
network from all regulators to those genes is asked for. Time series alone: evidence has no use for single samples.
Genes with a known regulator and regulators, each scaled to 0..1.

Yeast: the published 500 genes, one time series, the published prior; against the knock-outs over the regulators that
these have among the 500.

Not a part of `make bench`; about 10 minutes of processor time, no times are measured.

    DASH_HPC_DATA=… python benchmarks/evidence_real.py [--only dream4 …] [--workers 2] [--out …/evidence_real.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import csv
import gzip
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, publish

from dash_hpc.data import DataSet, Input, Prior, TimeCourse, Treatment, build
from dash_hpc.data.design import with_design
from dash_hpc.evaluation.rankings import level_correlation, out_degree, residual_correlation
from dash_hpc.evidence.decide import EvidenceOptions
from dash_hpc.evidence.finding import find_network
from dash_hpc.rng import stream

FOLDER = Path(os.environ.get("DASH_HPC_DATA", "."))
NETWORKS, SHARES, DRAWS, NAMES = (1, 2), (0.05, 0.2), range(5), range(5)
SEEDS, HELD_OUT = range(42, 47), 0.2
HOUR = 60.0
Row = dict[str, Any]
Bools = np.ndarray


def average_precision(scores: np.ndarray, right: Bools) -> float:
    """Area under precision and recall of scores (n,); equal scores are one step."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    found, taken = np.cumsum(right[order])[last], np.flatnonzero(last) + 1
    return float((np.diff(found, prepend=0) * found / taken).sum() / max(right.sum(), 1))


@dataclass(frozen=True, eq=False)
class Question:
    """A data set, and the pairs (G, G) regulator × target that are asked for, of which some are ``right``."""

    data: DataSet
    right: Bools
    asked: Bools

    def precision_of(self, scores: np.ndarray) -> float:
        return average_precision(scores[self.asked], self.right[self.asked])

    def balanced(self, network: Bools) -> float:
        taken, right = network[self.asked], self.right[self.asked]
        return float(((taken & right).sum() / right.sum() + (~taken & ~right).sum() / (~right).sum()) / 2)


def answer(question: Question, method: str, rankings: dict[str, np.ndarray] | None = None) -> Row:
    """The figures of evidence; ``rankings`` takes the log-odds (G, G)."""
    found = find_network(question.data, EvidenceOptions())
    ledger, n = found.ledger, question.data.n_genes
    odds = np.full((n, n), -np.inf)
    odds[ledger.regulator, ledger.target] = ledger.log_odds
    taken = np.zeros((n, n), dtype=bool)
    taken[ledger.regulator[found.decision.taken], ledger.target[found.decision.taken]] = True
    if rankings is not None:
        rankings[method] = odds
    facts = found.evidence.facts
    row: Row = {"method": method, "average_precision": question.precision_of(odds), "edges": int(taken.sum())}
    own = taken & question.asked
    row |= {"balanced_accuracy": question.balanced(taken), "asked_edges": int(own.sum())}
    if own.any():
        row |= {"precision": float(question.right[own].mean()), "expected_fdr": facts["expected_fdr"]}
    row |= {name: facts[name] for name in ("median_power", "decided_targets", "corruption", "new")}
    return row | {"notes": list(found.notes)}


def control(question: Question, method: str, scores: np.ndarray) -> Row:
    return {"method": method, "average_precision": question.precision_of(scores)}


def _prior_rows(question: Question) -> list[Row]:
    """The prior itself, and with the residual correlation among equals."""
    prior = question.data.prior
    if prior is None or not prior.n_edges:
        return []
    listed = prior.motif.toarray() != 0
    residual = residual_correlation(question.data.train).T  # it has targets first
    rows = [control(question, "prior itself", listed.astype(float))]
    rows[0]["balanced_accuracy"] = question.balanced(listed)
    return [*rows, control(question, "prior, residual correlation among equals", listed + residual / 2)]


def dream4(network: int, share: float | None, draw: int) -> list[Row]:
    """One draw of the prior (None: no prior) on one network."""
    question = _dream4(network, share, draw)
    kept: dict[str, np.ndarray] = {}
    rows = [answer(question, "evidence", kept)]
    if share is not None:
        return rows + _prior_rows(question)
    untold = _untold(question.data.train)
    plain = replace(question, data=replace(question.data, train=untold, validation=untold))
    rows += [
        answer(plain, "evidence, design not told"),
        control(question, "residual correlation", residual_correlation(question.data.train).T),
        control(question, "correlation of levels", level_correlation(question.data.train).T),
        control(question, "out-degree of the reference", out_degree(question.right.astype(float)).T),
    ]
    names = [stream(seed, "benchmark-evidence-names").permutation(len(question.right)) for seed in NAMES]
    renamed = [replace(question, right=question.right[np.ix_(order, order)]) for order in names]
    found = [other.precision_of(kept["evidence"]) for other in renamed]
    return [*rows, {"method": "evidence, genes renamed", "average_precision": float(np.mean(found))}]


def _dream4(network: int, share: float | None, draw: int) -> Question:
    folder = FOLDER / "dream4"
    lines = (folder / f"insilico_size100_{network}_timeseries.tsv").read_text().splitlines()
    genes = [name.strip('"') for name in lines[0].split()[1:]]
    series = [[line.split() for line in block.splitlines() if line] for block in "\n".join(lines[1:]).split("\n\n")]
    values = [np.array(one, dtype=float) for one in series if one]
    whole = TimeCourse.from_arrays([one[:, 1:] for one in values], [one[:, 0] for one in values], genes)
    treated = {k: Treatment((Input(f"stimulus {k}", 0.0, 500.0),)) for k in range(len(values))}
    course, place = with_design(whole, treated), {gene: k for k, gene in enumerate(genes)}
    right = np.zeros((len(genes),) * 2, dtype=bool)
    for line in (folder / f"DREAM4_GoldStandard_InSilico_Size100_{network}.tsv").read_text().splitlines():
        regulator, target, edge = line.split()
        right[place[regulator], place[target]] = edge == "1"
    prior = None
    if share is not None:
        moved = stream(draw, "benchmark-evidence-prior")
        prior = Prior.from_arrays(right.astype(float), genes).corrupt(share, moved)
    return Question(DataSet(f"dream4-{network}", course, course, prior=prior), right, ~np.eye(len(genes), dtype=bool))


def _untold(course: TimeCourse) -> TimeCourse:
    return with_design(course, dict.fromkeys(range(len(course)), Treatment()))


def bsubtilis(seed: int) -> list[Row]:
    """One choice of the genes that lose their edges."""
    question = _bsubtilis(seed)
    prior = question.data.prior
    if prior is None:
        raise SystemExit("B. subtilis has a prior")
    degree = np.diff(prior.motif.indptr).astype(float)
    return [
        answer(question, "evidence"),
        control(question, "out-degree in the prior", np.repeat(degree[:, None], len(degree), axis=1)),
        control(question, "residual correlation", residual_correlation(question.data.train).T),
        control(question, "correlation of levels", level_correlation(question.data.train).T),
    ]


def _bsubtilis(seed: int) -> Question:
    folder = FOLDER / "bsubtilis"
    samples, expression = _matrix(folder / "expression.tsv.gz")
    regulators, gold = _matrix(folder / "gold_standard.tsv.gz")
    known = [gene for gene, edges in gold.items() if edges.any() and gene in expression]
    genes = list(dict.fromkeys([*known, *regulators]))
    order = np.random.default_rng(seed).permutation(len(known))[: round(HELD_OUT * len(known))]
    held = {known[k] for k in order}
    levels = np.stack([expression[gene] for gene in genes], axis=1)
    levels = (levels - levels.min(axis=0)) / np.ptp(levels, axis=0)
    values, times = [], []
    for chain in _series(folder / "meta_data.tsv"):
        values.append(levels[[samples.index(name) for name, _ in chain]])
        times.append(np.array([time for _, time in chain]))
    place = {gene: k for k, gene in enumerate(genes)}
    whole, asked = np.zeros((len(genes),) * 2), np.zeros((len(genes),) * 2, dtype=bool)
    rows = [place[name] for name in regulators]
    for gene in known:
        whole[rows, place[gene]] = gold[gene]
    np.fill_diagonal(whole, 0)
    columns = [place[gene] for gene in sorted(held)]
    asked[np.ix_(rows, columns)] = True
    np.fill_diagonal(asked, False)
    listed = whole.copy()
    listed[:, columns] = 0
    course = TimeCourse.from_arrays(values, times, genes)
    data = DataSet("bsubtilis", course, course, prior=Prior.from_arrays(listed, genes), time_unit=HOUR)
    return Question(data, whole != 0, asked)


def _matrix(path: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """Column names, and a row per gene."""
    with gzip.open(path, "rt") as file:
        head, *body = csv.reader(file, delimiter="\t")
    return head[len(head) - len(body[0]) + 1 :], {row[0]: np.array(row[1:], dtype=float) for row in body}


def _series(path: Path) -> list[list[tuple[str, float]]]:
    """Time series as (sample, minutes since the first); where one branches the first branch goes on."""
    with path.open() as file:
        rows = list(csv.reader(file, delimiter="\t"))[1:]
    follows: dict[str, tuple[str, float]] = {}
    for _, _, before, minutes, name in rows:
        if before != "NA":
            follows.setdefault(before, (name, float(minutes)))
    found = []
    for told, kind, _, _, name in rows:
        if told == "TRUE" and kind == "f":
            chain = [(name, 0.0)]
            while chain[-1][0] in follows:
                then, minutes = follows[chain[-1][0]]
                chain.append((then, chain[-1][1] + minutes))
            found.append(chain)
    return found


def yeast(_: int) -> list[Row]:
    data = build({"kind": "catalogue", "name": "yeast_500"}, seed=0, base=Path())
    place = {gene: k for k, gene in enumerate(data.genes)}
    right = np.zeros((data.n_genes,) * 2, dtype=bool)
    for line in (FOLDER / "yeast" / "reference" / "yeast_KDUnion.txt").read_text().splitlines():
        regulator, _, target = line.partition("\t")
        if regulator in place and target in place:
            right[place[regulator], place[target]] = True
    asked = np.repeat(right.any(axis=1)[:, None], len(right), axis=1) & ~np.eye(len(right), dtype=bool)
    question = Question(data, right, asked)
    return [
        answer(question, "evidence"),
        *_prior_rows(question),
        control(question, "residual correlation", residual_correlation(data.train).T),
        control(question, "correlation of levels", level_correlation(data.train).T),
    ]


@dataclass(frozen=True)
class Case:
    group: str
    name: str
    runs: tuple[Callable[[], list[Row]], ...]


def cases() -> list[Case]:
    found = []
    for network in NETWORKS:
        found.append(Case("dream4", f"DREAM4, network {network}, no prior", (partial(dream4, network, None, 0),)))
        for share in SHARES:
            runs = tuple(partial(dream4, network, share, draw) for draw in DRAWS)
            found.append(Case("dream4", f"DREAM4, network {network}, prior {share:.0%} wrong", runs))
    held = tuple(partial(bsubtilis, seed) for seed in SEEDS)
    found.append(Case("bsubtilis", "B. subtilis, held-out genes", held))
    return [*found, Case("yeast", "Yeast, 500 genes, knock-outs", (partial(yeast, 0),))]


def together(case: Case, method: str, rows: Iterable[Row]) -> Row:
    """Means over the draws, and the s.d. of the average precision."""
    found = list(rows)
    row: Row = {"group": case.group, "case": case.name, "method": method, "draws": len(found)}
    for name in dict.fromkeys(key for one in found for key in one if key not in ("method", "notes")):
        values = [one[name] for one in found if one.get(name) is not None]
        if values:
            row[name] = float(np.mean(values))
    if len(found) > 1:
        row["average_precision_sd"] = float(np.std([one["average_precision"] for one in found], ddof=1))
    notes = list(dict.fromkeys(note for one in found for note in one.get("notes", ())))
    return row | ({"notes": notes} if notes else {})


def main() -> None:
    made = parser(__doc__, repeats=1)
    made.add_argument("--only", nargs="+", help="dream4, bsubtilis, yeast")
    made.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    options = made.parse_args()
    chosen = [case for case in cases() if not options.only or case.group in options.only]
    rows = []
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = [(case, [pool.submit(run) for run in case.runs]) for case in chosen]
        for case, futures in waiting:
            found = [row for future in futures for row in future.result()]
            for method in dict.fromkeys(row["method"] for row in found):
                rows.append(together(case, method, [row for row in found if row["method"] == method]))
                print(rows[-1], flush=True)
    columns = {
        "case": "", "method": "", "average_precision": ".3f", "edges": ".0f", "precision": ".3f", "expected_fdr": ".3f",
        "balanced_accuracy": ".3f", "median_power": ".2f",
    }  # fmt: skip
    publish("evidence_real", rows, columns, options.out)


if __name__ == "__main__":
    main()
