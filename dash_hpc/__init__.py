"""dash-hpc: gene-regulatory neural ODEs, pruned with domain knowledge, at cluster scale.

The names below are the public interface. They load on first use, so that the command line starts quickly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dash_hpc.data import Prior as Prior
    from dash_hpc.data import TimeCourse as TimeCourse
    from dash_hpc.execution import run_study as run_study
    from dash_hpc.models import Phoenix as Phoenix
    from dash_hpc.network import consensus_of as consensus_of
    from dash_hpc.network import edges_of as edges_of
    from dash_hpc.ops import solve as solve
    from dash_hpc.store import open_store as open_store

__version__ = "0.1.0"

_HOMES = {
    "Phoenix": "dash_hpc.models",
    "Prior": "dash_hpc.data",
    "TimeCourse": "dash_hpc.data",
    "consensus_of": "dash_hpc.network",
    "edges_of": "dash_hpc.network",
    "open_store": "dash_hpc.store",
    "run_study": "dash_hpc.execution",
    "solve": "dash_hpc.ops",
}

__all__ = [
    "Phoenix",
    "Prior",
    "TimeCourse",
    "__version__",
    "consensus_of",
    "edges_of",
    "open_store",
    "run_study",
    "solve",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dash_hpc' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
