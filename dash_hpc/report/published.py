"""Published results that a reader will want beside their own, each with its source and how it was obtained.

Only SIM350 at 5 % noise has figures here that can be told with a source. None was copied from the paper's own
table: ``how`` says of each whether it was read off a figure by eye (± 0.5 points), quoted from a third-party
list, or quoted in material about the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["CITATION", "PUBLISHED_SIM350", "PublishedRow", "published_rows"]

CITATION = (
    "Hossain, Fischer, Burkholz, Quackenbush: Pruning neural network models for gene regulatory dynamics using data "
    "and domain knowledge. NeurIPS 2024 (Hossain et al. 2024)"
)


@dataclass(frozen=True)
class PublishedRow:
    """One strategy's published figures as text, and how they were obtained."""

    strategy: str
    sparsity: str
    balanced_accuracy: str
    mse: str
    how: str


_EYE = "read off a figure"
_LIST = "third-party list"
_BOTH = "third-party list; accuracy read off a figure"
_QUOTED = "quoted second-hand; the figure agrees"

PUBLISHED_SIM350 = (
    PublishedRow("unpruned baseline", "≈ 10 %", "≈ 0.585", "–", _EYE),
    PublishedRow("C-NODE", "6.2 %", "≈ 0.559", "2.8e-3", _BOTH),
    PublishedRow("L0", "≈ 33.8 %", "≈ 0.550", "–", _EYE),
    PublishedRow("PathReg", "56.5 %", "≈ 0.619", "8.0e-3", _BOTH),
    PublishedRow("PINN + MP", "≈ 87.2 %", "≈ 0.824", "–", _EYE),
    PublishedRow("BioPrune", "≈ 83.6 %", "≈ 0.874", "–", _EYE),
    PublishedRow("DST", "92.8 %", "–", "4.0e-3", _LIST),
    PublishedRow("IMP / SparseFlow", "≈ 96 %", "≈ 0.708", "3.6e-3", _BOTH),
    PublishedRow("DASH", "94.6 %", "0.907", "–", _QUOTED),
)


def published_rows(spec: Mapping[str, Any]) -> tuple[PublishedRow, ...]:
    """Return the published figures for this study's data: SIM350 at 5 % noise in both, else nothing."""
    data = spec.get("data", {})
    same = data.get("kind") == "catalogue" and data.get("name") == "sim350"
    same = same and abs(float(data.get("expression_noise", -1)) - 0.025) < 1e-9
    return PUBLISHED_SIM350 if same and abs(float(data.get("prior_noise", -1)) - 0.05) < 1e-9 else ()
