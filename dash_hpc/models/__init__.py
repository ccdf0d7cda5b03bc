"""Models of regulatory dynamics: families, found by name or by a model's tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dash_hpc.models.family import Family, Tensor
from dash_hpc.models.layers import Influence, Layer
from dash_hpc.models.phoenix.initial import initial_weights
from dash_hpc.models.registry import FAMILIES, family_named, family_of, family_of_spec

if TYPE_CHECKING:
    from dash_hpc.models.phoenix.module import Phoenix as Phoenix

__all__ = [
    "FAMILIES",
    "Family",
    "Influence",
    "Layer",
    "Phoenix",
    "Tensor",
    "family_named",
    "family_of",
    "family_of_spec",
    "initial_weights",
]


def __getattr__(name: str) -> Any:
    if name == "Phoenix":  # a torch module: loaded on first use
        from dash_hpc.models.phoenix.module import Phoenix

        return Phoenix
    raise AttributeError(f"module 'dash_hpc.models' has no attribute {name!r}")
