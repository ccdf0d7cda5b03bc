"""How the network of a model compares with a reference network.

Every matrix here is target × regulator: entry ``[j, i]`` is the influence of gene i on gene j. Prior and
reference files are regulator × target; `reference_coordinates` turns them round, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from scipy.sparse import csr_array, issparse

from dash_hpc.errors import UsageError
from dash_hpc.evaluation.matrices import any_along, count, diagonal, entries, row_blocks, square_sum, take

__all__ = [
    "UNIVERSES",
    "Confusion",
    "Universe",
    "confusion",
    "degrees",
    "edge_recovery",
    "effect_mse",
    "reference_coordinates",
    "roc_auc",
    "score_auc",
    "structural_mismatches",
]

Universe = Literal["all", "reference_tfs", "off_diagonal"]
UNIVERSES: tuple[str, ...] = get_args(Universe)


def structural_mismatches(edges: Any, effects_matrix: Any) -> int:
    """Count the pairs where "edge by pattern" and "effect differs from zero" disagree.

    Anything but 0 means that products of weights underflowed or cancelled exactly; the pattern is then the
    right one.
    """
    if issparse(edges):
        return count(csr_array(edges) != csr_array(effects_matrix != 0))
    return sum(int(np.count_nonzero(edges[rows] != (effects_matrix[rows] != 0))) for rows in row_blocks(*edges.shape))


def reference_coordinates(network: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return (targets, regulators), int64, of a network's edges; ``network`` is regulator × target."""
    if hasattr(network, "tocoo"):
        entries = network.tocoo()
        regulators, targets = entries.coords if hasattr(entries, "coords") else (entries.row, entries.col)
        present = entries.data != 0
        regulators, targets = regulators[present], targets[present]
    else:
        regulators, targets = np.nonzero(np.asarray(network))
    return np.asarray(targets, dtype=np.int64), np.asarray(regulators, dtype=np.int64)


@dataclass(frozen=True)
class Confusion:
    """Counts of ordered pairs (target, regulator); the rates are NaN where their class is empty."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def tpr(self) -> float:
        """Share of the reference's edges that are predicted (sensitivity)."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else float("nan")

    @property
    def tnr(self) -> float:
        """Share of the reference's non-edges that are not predicted (specificity)."""
        return self.tn / (self.tn + self.fp) if self.tn + self.fp else float("nan")

    @property
    def precision(self) -> float:
        """Share of the predicted edges that the reference has; NaN where nothing is predicted."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else float("nan")

    @property
    def balanced_accuracy(self) -> float:
        """Mean of ``tpr`` and ``tnr``."""
        return 0.5 * (self.tpr + self.tnr)


def _columns(universe: str, targets: np.ndarray, regulators: np.ndarray) -> np.ndarray | None:
    if universe not in UNIVERSES:
        raise UsageError(f"universe {universe!r} is not one of {', '.join(UNIVERSES)}")
    return np.unique(regulators) if universe == "reference_tfs" else None


def confusion(predicted: Any, truth: Any, universe: str = "all") -> Confusion:
    """Compare predicted edges with a reference network.

    Parameters
    ----------
    predicted : (G, G) bool, target × regulator
        Dense, sparse, or the :class:`dash_hpc.evaluation.matrices.Product` of some genes with some.
    truth : regulator × target, sparse or dense
        Non-zero entries are the edges.
    universe : {"all", "reference_tfs", "off_diagonal"}
        Which ordered pairs count: all G² with self-pairs (Hossain et al. 2024), only regulators that have an
        edge in the reference, or all pairs of different genes.

    Returns
    -------
    Confusion
    """
    targets, regulators = reference_coordinates(truth)
    columns = _columns(universe, targets, regulators)
    n_predicted = count(predicted if columns is None else predicted[:, columns])
    size = predicted.shape[0] * (predicted.shape[1] if columns is None else len(columns))
    if universe == "off_diagonal":
        n_predicted -= int(np.count_nonzero(diagonal(predicted)))
        size -= predicted.shape[0]
        different = targets != regulators
        targets, regulators = targets[different], regulators[different]
    tp = int(np.count_nonzero(take(predicted, targets, regulators)))
    fp, fn = n_predicted - tp, len(targets) - tp
    return Confusion(tp, fp, fn, size - tp - fp - fn)


def score_auc(scores: np.ndarray, positives: np.ndarray) -> float:
    """Area under the ROC curve of ``scores`` (n,), 0 or larger, with ties counted by midranks.

    Parameters
    ----------
    scores : (n,) float
        Larger = more likely an edge.
    positives : (p,) int
        Indices of the true edges.

    Returns
    -------
    float
        NaN when there is no true edge or no other pair.
    """
    return _auc(scores[scores > 0], scores.size, scores[positives])


def _auc(nonzero: np.ndarray, n: int, value: np.ndarray) -> float:
    """The area, from the scores above 0 (sorted in place), the number of all scores, and those of the true edges."""
    n_positive = value.size
    if n_positive == 0 or n_positive == n:
        return float("nan")
    # Only the non-zero scores are sorted: a pruned network leaves few of its G² pairs.
    ranked = nonzero
    ranked.sort()
    n_zero = n - ranked.size
    first = np.searchsorted(ranked, value, side="left")
    last = np.searchsorted(ranked, value, side="right")
    midrank = np.where(value > 0, n_zero + (first + last + 1) / 2, (n_zero + 1) / 2)
    u = midrank.sum(dtype=np.float64) - n_positive * (n_positive + 1) / 2
    return float(u / (n_positive * (n - n_positive)))


def roc_auc(scores: Any, truth: Any, universe: str = "all", *, regulators_only: np.ndarray | None = None) -> float:
    """Area under the ROC curve for ranking ordered pairs by |scores| (G, G), target × regulator.

    ``truth`` and ``universe`` as in `confusion`; ``regulators_only`` (k,) int keeps just those regulators.
    NaN when the pairs that are left hold no edge, or nothing else.
    """
    targets, regulators = reference_coordinates(truth)
    columns = _columns(universe, targets, regulators)
    if regulators_only is not None:
        chosen = np.unique(np.asarray(regulators_only, dtype=np.int64))
        columns = chosen if columns is None else np.intersect1d(columns, chosen)
    n_genes = scores.shape[0]
    kept = scores if columns is None else scores[:, columns]
    width = kept.shape[1]
    if columns is not None:
        place = np.full(scores.shape[1], -1, dtype=np.int64)
        place[columns] = np.arange(width)
        inside = place[regulators] >= 0
        targets, regulators, column = targets[inside], regulators[inside], place[regulators[inside]]
    else:
        column = regulators
    if universe != "off_diagonal":
        found = entries(kept)
        found = found[found != 0]  # at genome scale one copy is half a gigabyte, so there is only this one
        return _auc(np.abs(found, out=found), n_genes * width, np.abs(take(kept, targets, column)))
    kept = abs(kept.toarray() if issparse(kept) else kept)
    counted = np.ones((n_genes, width), dtype=bool)
    own = np.arange(n_genes) if columns is None else columns
    counted[own, np.arange(width)] = False
    positive = np.zeros((n_genes, width), dtype=bool)
    positive[targets, column] = True
    return score_auc(kept[counted], np.flatnonzero(positive[counted]))


def degrees(edges: Any) -> dict[str, float]:
    """Size of a network: n_edges, mean out_degree and in_degree, active_regulators, active_targets.

    The mean in- and out-degree over the same G genes are equal by definition; both are given because both are
    asked for.
    """
    n_edges = count(edges)
    return {
        "n_edges": float(n_edges),
        "out_degree": n_edges / edges.shape[1],
        "in_degree": n_edges / edges.shape[0],
        "active_regulators": float(np.count_nonzero(any_along(edges, 0))),
        "active_targets": float(np.count_nonzero(any_along(edges, 1))),
    }


def edge_recovery(edges: Any, truth: Any, prior: Any) -> dict[str, float]:
    """What the model added to a wrong prior: ``recovered_missing`` and ``rejected_spurious``.

    ``recovered_missing`` is the share of the reference's edges absent from the prior that the model has;
    ``rejected_spurious`` the share of the prior's edges absent from the reference that the model has not. A
    measure whose class is empty (a clean prior) is left out. ``truth`` and ``prior`` are regulator × target.
    """
    n_genes = edges.shape[1]
    true_flat = np.unique(_flat(truth, n_genes))
    prior_flat = np.unique(_flat(prior, n_genes))
    missing = np.setdiff1d(true_flat, prior_flat, assume_unique=True)
    spurious = np.setdiff1d(prior_flat, true_flat, assume_unique=True)
    result: dict[str, float] = {}
    if missing.size:
        result["recovered_missing"] = float(np.mean(take(edges, *np.divmod(missing, n_genes))))
    if spurious.size:
        result["rejected_spurious"] = float(np.mean(~take(edges, *np.divmod(spurious, n_genes))))
    return result


def _flat(network: Any, n_genes: int) -> np.ndarray:
    targets, regulators = reference_coordinates(network)
    return targets * n_genes + regulators


def effect_mse(normalised_effects: Any, truth: Any) -> float:
    """Mean squared difference over all G² pairs between D̃ and the reference's signs, both row-normalised.

    The published figure (Hossain et al. 2024, Fig. 3) does not give the scale of the true effects. Here each
    target's true effects are ±1 divided by its number of regulators, so that both sides sum to 1 in absolute
    value; compare only numbers made by this function.
    """
    targets, regulators = reference_coordinates(truth)
    n_genes = normalised_effects.shape[0]
    signs = np.sign(_values(truth, regulators, targets))
    count = np.bincount(targets, minlength=n_genes)[targets]
    wanted = signs / count
    # Sum over all pairs without a second G × G array: start from all-zero truth, then correct its edges.
    total = square_sum(normalised_effects)
    at_edges = take(normalised_effects, targets, regulators).astype(np.float64)
    total += float(np.sum((at_edges - wanted) ** 2 - at_edges**2))
    return total / (n_genes * normalised_effects.shape[1])


def _values(network: Any, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    if hasattr(network, "tocsr"):
        network = network.tocsr()
    return np.asarray(network[rows, columns], dtype=np.float64).ravel()
