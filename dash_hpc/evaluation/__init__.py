"""How good a kept model is: network, predictions, the controls beside them, and the choice of a setting."""

from __future__ import annotations

from dash_hpc.evaluation.controls import (
    bioprune_curve,
    margins_network,
    prior_network,
    shuffled_accuracies,
    shuffled_balanced_accuracy,
    sources_network,
    structure_controls,
)
from dash_hpc.evaluation.influence import (
    active_weights,
    edge_parts,
    effects,
    model_sparsity,
    row_normalised,
    structural_edges,
)
from dash_hpc.evaluation.metrics import (
    control_metrics,
    evaluate,
    evaluation_notes,
    network_metrics,
    prediction_metrics,
)
from dash_hpc.evaluation.network import (
    UNIVERSES,
    Confusion,
    confusion,
    degrees,
    edge_recovery,
    effect_mse,
    reference_coordinates,
    roc_auc,
    score_auc,
    structural_mismatches,
)
from dash_hpc.evaluation.prediction import pairwise_mse, persistence_mse, predict_pairs
from dash_hpc.evaluation.selection import Selection, select_setting
from dash_hpc.evaluation.settings import (
    FOLD,
    Level,
    axis_label,
    axis_name,
    levels,
    setting_columns,
    setting_label,
    setting_name,
    value_name,
)

__all__ = [
    "FOLD",
    "UNIVERSES",
    "Confusion",
    "Level",
    "Selection",
    "active_weights",
    "axis_label",
    "axis_name",
    "bioprune_curve",
    "confusion",
    "control_metrics",
    "degrees",
    "edge_parts",
    "edge_recovery",
    "effect_mse",
    "effects",
    "evaluate",
    "evaluation_notes",
    "levels",
    "margins_network",
    "model_sparsity",
    "network_metrics",
    "pairwise_mse",
    "persistence_mse",
    "predict_pairs",
    "prediction_metrics",
    "prior_network",
    "reference_coordinates",
    "roc_auc",
    "row_normalised",
    "score_auc",
    "select_setting",
    "setting_columns",
    "setting_label",
    "setting_name",
    "shuffled_accuracies",
    "shuffled_balanced_accuracy",
    "sources_network",
    "structural_edges",
    "structural_mismatches",
    "structure_controls",
    "value_name",
]
