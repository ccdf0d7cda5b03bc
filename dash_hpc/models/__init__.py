"""Models of regulatory dynamics."""

from __future__ import annotations

from dash_hpc.models.initial import initial_weights
from dash_hpc.models.phoenix import Phoenix

__all__ = ["Phoenix", "initial_weights"]
