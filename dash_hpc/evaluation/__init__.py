"""How good a kept model is: network, predictions, the controls beside them, and the choice of λ."""

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
    active_weights,
    confusion,
    degrees,
    edge_recovery,
    effect_mse,
    effects,
    model_sparsity,
    reference_coordinates,
    roc_auc,
    row_normalised,
    score_auc,
    structural_edges,
    structural_mismatches,
)
from dash_hpc.evaluation.prediction import pairwise_mse, persistence_mse, predict_pairs
from dash_hpc.evaluation.selection import Selection, select_lambda, setting_name, varying_options

__all__ = [
    "UNIVERSES",
    "Confusion",
    "Selection",
    "active_weights",
    "bioprune_curve",
    "confusion",
    "control_metrics",
    "degrees",
    "edge_recovery",
    "effect_mse",
    "effects",
    "evaluate",
    "evaluation_notes",
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
    "select_lambda",
    "setting_name",
    "shuffled_accuracies",
    "shuffled_balanced_accuracy",
    "sources_network",
    "structural_edges",
    "structural_mismatches",
    "structure_controls",
    "varying_options",
]
