"""Models of regulatory dynamics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dash_hpc.models.initial import initial_weights

if TYPE_CHECKING:
    from dash_hpc.models.phoenix import Phoenix as Phoenix

__all__ = ["Phoenix", "initial_weights"]


def __getattr__(name: str) -> Any:
    if name == "Phoenix":  # a torch module: loaded on first use
        from dash_hpc.models.phoenix import Phoenix

        return Phoenix
    raise AttributeError(f"module 'dash_hpc.models' has no attribute {name!r}")
