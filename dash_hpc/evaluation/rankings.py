"""Controls that rank all pairs of genes without a model: by the data alone, or by the reference's own degrees.

A ranking becomes a network where it is cut; it is cut at as many edges as the model has that it stands beside, because
balanced accuracy grows with the number of edges. Public benchmarks show why these rows are needed: on several of them
plain correlation beats published methods (Kernfeld et al., Genome Biology 2025).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dash_hpc.errors import UsageError
from dash_hpc.evaluation.network import reference_coordinates, roc_auc

__all__ = ["RANKINGS", "cut_rates", "level_correlation", "out_degree", "ranking_controls", "residual_correlation"]

#: Keys of the controls that rank pairs.
RANKINGS = ("correlation", "residual", "out_degree")

Scores = NDArray[np.float64]


def level_correlation(course: Any) -> Scores:
    """Return the absolute correlation of levels over all measured states: (G, G), 0 for self-pairs.

    ``course`` is a TimeCourse; of missing values nothing enters. A gene that does not change scores 0.
    """
    states = np.vstack([trajectory.values for trajectory in course.trajectories]).astype(np.float64)
    units = _units(states)
    return _without_self(np.abs(units.T @ units))


def residual_correlation(course: Any) -> Scores:
    """Return how the change of a target follows the start level of a regulator: (G, G), target × regulator.

    Of each step the difference, from which the target's own start level (and a constant) is taken out by least squares
    over all steps; then the absolute correlation with each gene's start level. 0 for self-pairs and for genes that do
    not change.
    """
    pairs = course.pairs()
    start, change = pairs.y0.astype(np.float64), (pairs.y1 - pairs.y0).astype(np.float64)
    there = np.isfinite(change) & np.isfinite(start)
    n = np.maximum(there.sum(axis=0), 1)
    x, y = np.where(there, start, 0.0), np.where(there, change, 0.0)
    x = np.where(there, x - x.sum(axis=0) / n, 0.0)
    y = np.where(there, y - y.sum(axis=0) / n, 0.0)
    spread = (x * x).sum(axis=0)
    slope = np.divide((x * y).sum(axis=0), spread, out=np.zeros_like(spread), where=spread > 0)
    return _without_self(np.abs(_units(np.where(there, y - slope * x, np.nan)).T @ _units(start)))


def out_degree(truth: Any) -> Scores:
    """Return the regulator's number of targets in the reference for every pair: (G, G), an oracle that knows no edge.

    ``truth`` is regulator × target.
    """
    n_genes = truth.shape[0]
    count = np.bincount(reference_coordinates(truth)[1], minlength=n_genes).astype(np.float64)
    return np.broadcast_to(count, (n_genes, n_genes))


def _units(values: Scores) -> Scores:
    """Columns without their mean and of length 1; missing values are 0, as is a column that does not change."""
    there = np.isfinite(values)
    mean = np.where(there, values, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    centred = np.where(there, values - mean, 0.0)
    length = np.linalg.norm(centred, axis=0)
    # Rounding leaves a constant gene a length of about its level times 1e-16.
    real = length > 1e-12 * np.maximum(np.abs(mean), 1e-300) * np.sqrt(len(values))
    return np.divide(centred, length, out=np.zeros_like(centred), where=real)


def _without_self(scores: Scores) -> Scores:
    np.fill_diagonal(scores, 0.0)
    return scores


def cut_rates(scores: Scores, truth: Any, n_edges: int) -> dict[str, float]:
    """Return what the ``n_edges`` pairs of the highest score are worth over all G² pairs.

    Where pairs of one score stand on both sides of the cut, the numbers are those expected of a random choice among
    them.

    Parameters
    ----------
    scores : (G, G) float, target × regulator
    truth : (G, G), regulator × target
    n_edges : int
        0 to G².

    Returns
    -------
    dict
        ``balanced_accuracy``, ``tpr``, ``tnr``, ``precision`` (NaN for no edge), and
        ``balanced_accuracy_reference_tfs``: over the pairs whose regulator has an edge in the reference, the same cut.

    Raises
    ------
    UsageError
        ``n_edges`` out of range, or a reference without an edge or without a pair that is none.
    """
    targets, regulators = reference_coordinates(truth)
    n_true, size = len(targets), scores.size
    if not 0 <= n_edges <= size:
        raise UsageError(f"a ranking of {size:,} pairs cannot be cut at {n_edges:,} edges")
    if not 0 < n_true < size:
        raise UsageError("a ranking is measured against a reference with edges and with pairs that are none")
    tp = inside = 0.0
    known = scores[:, np.unique(regulators)]
    others = known.size - n_true
    if n_edges:
        cut = np.partition(scores, size - n_edges, axis=None)[size - n_edges]
        above, tied = int(np.count_nonzero(scores > cut)), int(np.count_nonzero(scores == cut))
        value = scores[targets, regulators]
        share = (n_edges - above) / tied
        tp = float(np.count_nonzero(value > cut)) + share * float(np.count_nonzero(value == cut))
        inside = float(np.count_nonzero(known > cut)) + share * float(np.count_nonzero(known == cut))
    tpr, tnr = tp / n_true, 1.0 - (n_edges - tp) / (size - n_true)
    return {
        "balanced_accuracy": 0.5 * (tpr + tnr),
        "tpr": tpr,
        "tnr": tnr,
        "precision": tp / n_edges if n_edges else float("nan"),
        "balanced_accuracy_reference_tfs": 0.5 * (tpr + 1.0 - (inside - tp) / others) if others else float("nan"),
    }


def ranking_controls(course: Any, truth: Any, n_edges: int) -> dict[str, dict[str, float]]:
    """Measure correlation of levels, residual correlation and the true out-degree, cut at ``n_edges`` edges.

    Parameters
    ----------
    course : TimeCourse
        Training data.
    truth : (G, G), regulator × target
    n_edges : int
        That of the model beside which they stand.

    Returns
    -------
    dict
        By the names of :data:`RANKINGS`, each as :func:`cut_rates` has it and ``auc`` over all pairs.
    """
    scores = (level_correlation(course), residual_correlation(course), out_degree(truth))
    return {
        name: cut_rates(one, truth, n_edges) | {"auc": roc_auc(one, truth)}
        for name, one in zip(RANKINGS, scores, strict=True)
    }
