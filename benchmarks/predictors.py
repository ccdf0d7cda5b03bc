"""What else can be made of the rows of strategy evidence, and of its fit: controls of ``benchmarks/evidence.py``.

**LASSO** per target on the start-free rows, with one rate for all genes, so that all targets have the same columns, and
with courses from each gene's own data: what remains of the method without Bayes factors, prior odds and smoothing. The
penalty is chosen by cross-validation over trajectories. With a prior, listed edges have a fifth of the penalty.

**Correlation of the rows**: each edge by how strongly the target's rows go with the regulator's columns, alone.

**The same fit** of a drive per target, on the same courses, but on other edges: the true ones, or those of the prior.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from common import sim350_spec
from scipy.sparse import csr_array

from dash_hpc.data import DataSet
from dash_hpc.evaluation import evaluate, structure_controls
from dash_hpc.evidence.blocks import blocks_of
from dash_hpc.evidence.columns import Features, given_rows
from dash_hpc.evidence.decide import EvidenceOptions
from dash_hpc.evidence.finding import find_network
from dash_hpc.evidence.model import fit_model
from dash_hpc.evidence.noise import estimate_noise
from dash_hpc.evidence.relaxation import relax
from dash_hpc.evidence.rows import parts_of
from dash_hpc.models.phoenix.assemble import assemble
from dash_hpc.ops.drive_search import columns_of, data_of
from dash_hpc.ops.state import values

__all__ = ["Regression", "fitted_rows", "lasso", "predicted_rows", "regression_of"]

FOLDS = 5
LISTED = 0.2  # penalty of a listed edge, in those of others
_GRID = np.geomspace(1, 3e-3, 20)  # penalties, in the least that leaves nothing in
_SAME, _MOST_MOVES, _MOST_INSIDE = 1e-6, 300, 60


@dataclass(frozen=True, eq=False)
class Regression:
    """The rows of all targets and their columns; each column has length 1, as has the data of each target.

    Attributes
    ----------
    columns : (n, G) float64
    data : (n, T) float64
    targets : (T,) int64
    fold : (n,) int64
        Of each row, by trajectory.
    """

    columns: np.ndarray
    data: np.ndarray
    targets: np.ndarray
    fold: np.ndarray


def regression_of(dataset: DataSet) -> Regression:
    """Take the rows of a data set whose trajectories were all measured at the same times, with nothing missing."""
    (block,) = blocks = blocks_of(dataset.train, dataset.time_unit)
    noise = estimate_noise(blocks)
    first = relax(blocks, noise)
    features = Features.of_courses(first.courses)
    targets = np.flatnonzero(~noise.constant)
    rate = float(np.exp(first.mean))
    (part,) = parts = parts_of(blocks, int(targets[0]), rate)
    drive, others = columns_of(given_rows(parts, features), np.arange(dataset.n_genes))
    rows = [data_of(given_rows(parts_of(blocks, int(gene), rate), features)) for gene in targets]
    data = np.stack([np.concatenate([own - own.mean(), rest]) for own, rest in rows], axis=1)
    columns = np.concatenate([drive - drive.mean(axis=0), others])
    if len(part.members) != len(block.values):
        raise SystemExit(f"{dataset.name}: some trajectories lack values")
    fold = np.arange(len(data)) % len(part.members) % FOLDS  # rows come kind by kind, each trajectory by trajectory
    return Regression(columns / _norm(columns), data / _norm(data), targets, fold)


def _norm(matrix: np.ndarray) -> np.ndarray:
    return np.maximum(np.sqrt((matrix**2).sum(axis=0)), 1e-300)


def lasso(given: Regression, weight: np.ndarray) -> np.ndarray:
    """Return the coefficients (G, T) of every target at the penalty that predicts the left-out trajectories best.

    ``weight`` (G, T): relative penalties, inf for what is to stay out.
    """
    most = np.abs((given.columns.T @ given.data) / weight).max(axis=0)  # the least penalties that leave nothing in
    parts = [given.fold != fold for fold in range(FOLDS)]
    grams = [given.columns[kept].T @ given.columns[kept] for kept in parts]
    moments = [given.columns[kept].T @ given.data[kept] for kept in parts]
    whole, moment = given.columns.T @ given.columns, given.columns.T @ given.data
    found = np.zeros(weight.shape)
    for t in range(len(given.targets)):
        penalties = most[t] * weight[:, t]
        error = np.zeros(len(_GRID))
        for kept, gram, pull in zip(parts, grams, moments, strict=True):
            path = _path(gram, pull[:, t], penalties * kept.mean())
            error[len(path) :] = np.inf
            left = given.data[~kept, t, None] - given.columns[~kept] @ np.stack(path, axis=1)
            error[: len(path)] += (left**2).sum(axis=0)
        path = _path(whole, moment[:, t], penalties)
        found[:, t] = path[min(int(error.argmin()), len(path) - 1)]
    return found


def _path(gram: np.ndarray, moment: np.ndarray, penalties: np.ndarray) -> list[np.ndarray]:
    """Coefficients of one target along the grid, from the largest penalty on, until 60 columns are in.

    With the columns that are in and their signs given, the solution is that of linear equations. A column leaves where
    its coefficient would change its sign on the way there, and the one that its penalty holds back least comes in.
    """
    found, inside, path = np.zeros(len(gram)), list[int](), []
    for share in _GRID:
        limit = share * penalties
        for _ in range(_MOST_MOVES):
            pull = moment - gram[:, inside] @ found[inside]
            over = np.abs(pull) - limit
            over[inside] = -1
            come = int(over.argmax())
            if over[come] > _SAME:
                inside.append(come)
            sign = np.where(found[inside] != 0, np.sign(found[inside]), np.sign(pull[inside]))
            goal = np.linalg.solve(gram[np.ix_(inside, inside)], moment[inside] - limit[inside] * sign)
            crossed = np.flatnonzero((goal * sign <= 0) & (found[inside] != 0))
            if len(crossed):
                way = found[inside][crossed] / (found[inside][crossed] - goal[crossed])
                found[inside] += way.min() * (goal - found[inside])
                out = inside[crossed[way.argmin()]]
                found[out] = 0.0
                inside = [k for k in inside if found[k]]
            else:
                found[inside] = goal
                if over[come] <= _SAME:
                    break
        path.append(found.copy())
        if len(inside) > _MOST_INSIDE:
            break
    return path


def predicted_rows(dataset: DataSet) -> list[dict[str, Any]]:
    """LASSO and correlation of the rows: one row each, and one for as many of the strongest edges as there are true."""
    given, genes = regression_of(dataset), dataset.n_genes
    own = np.where(given.targets == np.arange(genes)[:, None], np.inf, 1.0)
    strength = {"correlation of the rows": np.abs(given.columns.T @ given.data) * np.isfinite(own)}
    strength["LASSO, no prior"] = np.abs(lasso(given, own))
    if dataset.prior is not None:
        listed = dataset.prior.motif.toarray()[:, given.targets] != 0
        strength["LASSO, listed × 0.2"] = np.abs(lasso(given, np.where(listed, LISTED * own, own)))
    rows = []
    for name, found in strength.items():
        whole = np.zeros((genes, genes))
        whole[:, given.targets] = found
        if name.startswith("LASSO"):
            rows.append({"mode": name} | _scored(whole > 0, dataset))
        most = _truth(dataset).sum()
        least = np.partition(whole, -most, axis=None)[-most]
        rows.append({"mode": f"{name}: strongest"} | _scored((whole >= least) & (whole > 0), dataset))
    return rows


def fitted_rows(dataset: DataSet) -> list[dict[str, Any]]:
    """The test error of the same fit on the true edges and on those of the prior."""
    found = find_network(dataset, EvidenceOptions())
    spec = sim350_spec(0)
    pairs = (found.ledger.regulator, found.ledger.target)
    rows = []
    for name, edges in {"true edges, same fit": _truth(dataset), "prior's edges, same fit": _listed(dataset)}.items():
        taken = edges[pairs] & np.isfinite(found.ledger.log_odds)
        fitted = fit_model(found.reading, found.ledger, replace(found.decision, taken=taken))
        # rates are those of the data set's own unit of time there, and those of the data in a run that is kept
        model = assemble(fitted.drives, fitted.rates / dataset.time_unit, np.float32)
        masks = {key: np.ones(values(model[key]).shape, dtype=bool) for key in model if key[:2] in ("W_", "U_")}
        measured = evaluate(model, masks, dataset, solver=spec["solver"], model=spec["model"])
        wanted = {"test_mse": "test_mse", "sparsity": "sparsity", "active_weights": "active_weights"}
        rows.append({"mode": name} | _scored(edges, dataset) | {key: measured.get(of) for key, of in wanted.items()})
    return rows


def _truth(dataset: DataSet) -> np.ndarray:
    if dataset.truth is None:
        raise SystemExit(f"{dataset.name} has a reference network")
    return np.asarray(dataset.truth.toarray() != 0)


def _listed(dataset: DataSet) -> np.ndarray:
    if dataset.prior is None:
        return np.zeros((dataset.n_genes, dataset.n_genes), dtype=bool)
    return np.asarray(dataset.prior.motif.toarray() != 0)


def _scored(edges: np.ndarray, dataset: DataSet) -> dict[str, Any]:
    """What a network is worth, regulator × target."""
    truth, listed = _truth(dataset), _listed(dataset)
    counts = structure_controls(csr_array(edges.astype(float)), dataset.truth)["prior"]
    row = {
        "balanced_accuracy": counts.balanced_accuracy, "precision": counts.precision, "tpr": counts.tpr,
        "edges": int(edges.sum()), "new": int((edges & ~listed).sum()),
        "false_new": int((edges & ~listed & ~truth).sum()), "realised_fdr": 1 - counts.precision,
    }  # fmt: skip
    if listed.any():
        row["found"] = float((edges & truth & ~listed).sum() / max((truth & ~listed).sum(), 1))
        row["spurious_kept"] = float((edges & listed & ~truth).sum() / max((listed & ~truth).sum(), 1))
    return row
