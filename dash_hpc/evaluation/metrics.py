"""All metrics of one kept model, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dash_hpc.evaluation.controls import shuffled_accuracies, structure_controls
from dash_hpc.evaluation.influence import active_weights, effects, model_sparsity, row_normalised, structural_edges
from dash_hpc.evaluation.network import (
    confusion,
    degrees,
    edge_recovery,
    effect_mse,
    reference_coordinates,
    roc_auc,
    structural_mismatches,
)
from dash_hpc.evaluation.prediction import pairwise_mse, persistence_mse, predict_pairs
from dash_hpc.evidence.criterion import RowError
from dash_hpc.models.registry import family_of
from dash_hpc.ops.state import Tensors

__all__ = ["control_metrics", "evaluate", "evaluation_notes", "network_metrics", "prediction_metrics"]

# Of the names of metrics, by the pairs that count.
_SUFFIX = {"all": "", "reference_tfs": "_reference_tfs", "off_diagonal": "_off_diagonal"}


def evaluate(
    weights: Tensors,
    masks: Mapping[str, np.ndarray] | None,
    dataset: Any,
    *,
    solver: Mapping[str, Any],
    model: Mapping[str, Any] | None = None,
    rows: bool = False,
) -> dict[str, float]:
    """Measure one kept model: its network, its predictions, and the controls beside them.

    Parameters
    ----------
    weights : mapping
        The tensors of a model, per unit of the data's time; masked entries 0. Matrices may be ``csr_array``.
    masks : mapping or None
        True = active, for the prunable tensors, in the shape of their values.
    dataset : DataSet
    solver : mapping
        Solver options of the run, as in its study.
    model : mapping, optional
        The section ``[model]`` of the study. A strategy may have a number of units of its own, so that its share of
        zeros compares with no other's. With the study's there are ``active_weights`` and ``study_sparsity``,
        1 − active weights / prunable weights of the study's model (PHOENIX: 4·m·G).
    rows : bool
        Whether to measure ``validation_rows`` too (:class:`dash_hpc.evidence.criterion.RowError`).

    Returns
    -------
    dict of float
        Metrics by name. What cannot be measured on this data set (no reference network, no test data, no
        prior) is left out; `evaluation_notes` says why. MSEs are in units of expression squared.

    Raises
    ------
    RunFailed
        When a pair cannot be solved.
    """
    result = network_metrics(weights, masks, prior=_motif(dataset), truth=dataset.truth, model=model)
    result |= prediction_metrics(weights, dataset, solver=solver, rows=rows)
    result |= control_metrics(dataset)
    return result


def network_metrics(
    weights: Tensors,
    masks: Mapping[str, np.ndarray] | None,
    *,
    prior: Any = None,
    truth: Any = None,
    model: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Sparsity and degrees, and what is measured against a reference network (regulator × target).

    ``model`` as for `evaluate`.
    """
    edges = structural_edges(weights, masks, compressed=True)
    matrix = effects(weights, masks, compressed=True)
    result = {"sparsity": model_sparsity(weights, masks)}
    if model is not None:
        family = family_of(weights)
        active, base = active_weights(weights, masks), family.prunable_count(model, family.n_genes(weights))
        result |= {"active_weights": float(active), "study_sparsity": (base - active) / base}
    result |= degrees(edges)
    result["structural_mismatches"] = float(structural_mismatches(edges, matrix))
    if truth is None:
        return result
    for universe, suffix in _SUFFIX.items():
        counts = confusion(edges, truth, universe)
        result[f"balanced_accuracy{suffix}"] = counts.balanced_accuracy
        result[f"tpr{suffix}"] = counts.tpr
        result[f"tnr{suffix}"] = counts.tnr
        result[f"precision{suffix}"] = counts.precision
    matrix = row_normalised(matrix)
    result["auc"] = roc_auc(matrix, truth)
    result["effect_mse"] = effect_mse(matrix, truth)
    for universe, value in shuffled_accuracies(edges, truth).items():
        result[f"control_shuffled_ba{_SUFFIX[universe]}"] = value
    if prior is not None:
        sources = np.unique(reference_coordinates(prior)[1])
        result["auc_prior_sources"] = roc_auc(matrix, truth, regulators_only=sources)
        result |= edge_recovery(edges, truth, prior)
    return {name: value for name, value in result.items() if np.isfinite(value)}


def prediction_metrics(
    weights: Tensors, dataset: Any, *, solver: Mapping[str, Any], rows: bool = False
) -> dict[str, float]:
    """Pairwise one-step MSE on the training, validation and test data that there are (train_mse, …).

    ``rows`` as for `evaluate`.
    """
    result = {}
    for name, pairs in _pair_sets(dataset).items():
        result[f"{name}_mse"] = pairwise_mse(
            weights, pairs, solver=solver, what=f"{name} pair", time_unit=dataset.time_unit
        )
    if rows:
        judge = RowError(dataset)
        predicted = predict_pairs(weights, judge, solver=solver, what="step of rows", time_unit=dataset.time_unit)
        result["validation_rows"] = judge.error(predicted)
    return result


def control_metrics(dataset: Any) -> dict[str, float]:
    """The controls that need no model: names start with ``control_``, and ``persistence_mse`` (test data)."""
    result: dict[str, float] = {}
    pairs = _pair_sets(dataset)
    if "test" in pairs:
        result["persistence_mse"] = persistence_mse(pairs["test"])
        result["control_persistence_mse"] = result["persistence_mse"]
    if "validation" in pairs:
        result["control_persistence_validation_mse"] = persistence_mse(pairs["validation"])
    motif = _motif(dataset)
    if dataset.truth is not None and motif is not None:
        for name, counts in structure_controls(motif, dataset.truth).items():
            result[f"control_{name}_ba"] = counts.balanced_accuracy
            result[f"control_{name}_tpr"] = counts.tpr
            result[f"control_{name}_tnr"] = counts.tnr
            result[f"control_{name}_precision"] = counts.precision
        for name, counts in structure_controls(motif, dataset.truth, "reference_tfs").items():
            result[f"control_{name}_ba_reference_tfs"] = counts.balanced_accuracy
    return {name: value for name, value in result.items() if np.isfinite(value)}


def evaluation_notes(dataset: Any) -> list[str]:
    """Say, a sentence each, what `evaluate` cannot measure on this data set, and why."""
    notes = []
    motif = _motif(dataset)
    if dataset.truth is None:
        notes.append(
            "No reference network is known for this data set: balanced accuracy, TPR, TNR, AUC and effect error "
            "were not measured, and nothing here says whether the edges are true."
        )
    if motif is None:
        notes.append("No prior network was given: the prior's own controls were not measured.")
    if dataset.truth is not None and motif is not None:
        n_genes = dataset.truth.shape[0]
        true_flat, prior_flat = (
            np.unique(targets * n_genes + regulators)
            for targets, regulators in (reference_coordinates(dataset.truth), reference_coordinates(motif))
        )
        if np.isin(true_flat, prior_flat).all():
            notes.append("The prior misses no edge of the reference: recovery of missing edges cannot be measured.")
        if np.isin(prior_flat, true_flat).all():
            notes.append("The prior holds no edge outside the reference: rejection of spurious edges is undefined.")
    if "test" not in _pair_sets(dataset):
        notes.append("There are no test data: test MSE was not measured, and validation MSE was used to choose.")
    return notes


def _motif(dataset: Any) -> Any:
    return None if dataset.prior is None else dataset.prior.motif


def _pair_sets(dataset: Any) -> dict[str, Any]:
    sets = {}
    for name in ("train", "validation", "test"):
        course = getattr(dataset, name)
        if course is not None:
            pairs = course.pairs()
            if len(pairs):
                sets[name] = pairs
    return sets
