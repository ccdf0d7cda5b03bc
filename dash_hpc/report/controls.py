"""The rows that stand beside every balanced accuracy: what predictors reach that learned nothing."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np

from dash_hpc.errors import DashHpcError
from dash_hpc.evaluation import prior_controls, ranking_controls
from dash_hpc.report.material import COLUMNS, Material, mean_sd

__all__ = ["LABELS", "about_controls", "control_rows", "data_controls"]

# Above this the rankings of all pairs take gigabytes: they are left out, and the report says so.
_MOST_GENES = 5000

#: Key -> what the predictor is, in the order of the table; those of the prior, then those that rank pairs.
LABELS = {
    "prior": "the prior itself",
    "margins": "prior sources × targets",
    "sources": "prior sources × all genes",
    "shuffled_prior": "prior, edges shuffled",
    "reversed_prior": "prior reversed",
    "empty_prior": "no edge at all",
    "correlation": "levels correlated",
    "residual": "residual correlation",
    "out_degree": "true out-degree (oracle)",
}
_RATES = ("balanced_accuracy", "tpr", "tnr", "precision", "auc", "balanced_accuracy_reference_tfs")
_SHORT = {"balanced_accuracy": "ba", "balanced_accuracy_reference_tfs": "ba_reference_tfs"}


def data_controls(material: Material) -> tuple[dict[str, float], str]:
    """Compute the controls that need data, prior and reference, and no run.

    The rankings are cut at as many edges as the model has that is shown. Returns ``control_<key>_<rate>`` -> value, and
    a sentence where something had to be left out.
    """
    dataset = material.dataset
    if dataset is None or dataset.truth is None:
        return {}, ""
    found: dict[str, dict[str, float]] = {}
    if dataset.prior is not None:
        found |= prior_controls(dataset.prior, dataset.truth)
    edges, note = _edges(material), ""
    if dataset.n_genes > _MOST_GENES:
        note = (
            f"Correlations were not computed as controls: {dataset.n_genes:,} genes are more than the {_MOST_GENES:,} "
            "up to which a report ranks all pairs."
        )
    elif edges is not None:
        with suppress(DashHpcError):  # a reference without an edge: nothing can be measured against it
            found |= ranking_controls(dataset.train, dataset.truth, edges)
    values = {
        f"control_{key}_{_SHORT.get(rate, rate)}": value
        for key, rates in found.items()
        for rate, value in rates.items()
        if np.isfinite(value)
    }
    return values | ({} if edges is None else {"control_edges": float(edges)}), note


def _edges(material: Material) -> int | None:
    """Number of edges of the model that is shown, mean over its runs; of the prior where there is none."""
    group = material.chosen
    if group is None:
        best = material.best_run(material.groups)
        group = next((g for g in material.groups if best is not None and best in g.runs.index), None)
    mean = math.nan if group is None or "n_edges" not in group.done else mean_sd(group.done["n_edges"])[0]
    if math.isfinite(mean):
        return round(mean)
    prior = material.dataset.prior
    return None if prior is None else int(prior.n_edges)


def control_rows(material: Material) -> list[dict[str, Any]]:
    """What predictors without training reach.

    The prior and what is made of it, rankings of all pairs, BioPrune without training, the model's own network with
    genes shuffled, and no change.
    """
    have = material.controls
    rows = []
    for key, label in LABELS.items():
        values = {rate: have.get(f"control_{key}_{_SHORT.get(rate, rate)}") for rate in _RATES}
        if values["balanced_accuracy"] is None:
            continue
        rows.append(_control(key, label, **values))
    if material.bioprune is not None and material.bioprune_event is not None:
        point = material.bioprune.loc[material.bioprune_event]
        measured = [name for name, _, _ in COLUMNS if name in point]
        row = _control("bioprune", "BioPrune, no training", **{name: float(point[name]) for name in measured})
        row["n_runs"] = int(point["n"])
        row["balanced_accuracy_sd"] = float(point["sd"])
        rows.append(row)
    shown = material.chosen.done if material.chosen is not None else material.runs
    shuffled = {
        f"balanced_accuracy{suffix}": mean_sd(shown[f"control_shuffled_ba{suffix}"])[0]
        for suffix in ("", "_reference_tfs")
        if f"control_shuffled_ba{suffix}" in shown
    }
    if any(math.isfinite(value) for value in shuffled.values()):
        rows.append(_control("shuffled", "model with genes shuffled", **shuffled))
    persistence = {
        "test_mse": have.get("control_persistence_mse", have.get("persistence_mse")),
        "validation_mse": have.get("control_persistence_validation_mse"),
    }
    if any(value is not None for value in persistence.values()):
        rows.append(_control("persistence", "no change (persistence)", **persistence))
    return rows


def about_controls(material: Material) -> str:
    """What the rows of controls are, in a sentence or two; empty where none of them needs words."""
    have, told = material.controls, []
    if "control_shuffled_prior_ba" in have:
        told.append("Shuffled prior: every gene keeps its degrees.")
    if "control_residual_ba" in have:
        told.append(
            "Rankings without a model (levels correlated, residual correlation, true out-degree) are cut at "
            f"{have['control_edges']:,.0f} edges, as many as the model shown has. Residual correlation: the change "
            "over a step, the target's own level taken out, with each gene's start level."
        )
    return " ".join(told)


def _control(key: str, label: str, **values: float | None) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": "control", "strategy": key, "label": label, "chosen": False}
    return row | {name: value for name, value in values.items() if value is not None}
