"""The options of every strategy, as study files know them: name -> options.

Strategies stand in ``dash_hpc.pruning``, each with its options in one file, and ``dash_hpc.pruning.registry`` lists
them. Nothing here imports that floor: the registry is looked up by its name, as an entry point is, when a study is
validated for the first time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from dash_hpc.study.options import StrategyOptions

__all__ = ["STRATEGIES", "total_epochs"]

_REGISTRY = "dash_hpc.pruning.registry"


class _Registered(Mapping[str, type[StrategyOptions]]):
    """The options of whatever is registered."""

    @staticmethod
    def _strategies() -> Mapping[str, type]:
        found: Mapping[str, type] = import_module(_REGISTRY).STRATEGIES
        return found

    def __getitem__(self, name: str) -> type[StrategyOptions]:
        options: type[StrategyOptions] = self._strategies()[name].Options  # type: ignore[attr-defined]
        return options

    def __iter__(self) -> Iterator[str]:
        return iter(self._strategies())

    def __len__(self) -> int:
        return len(self._strategies())


STRATEGIES: Mapping[str, type[StrategyOptions]] = _Registered()
"""Name in ``[[strategy]] name = "…"`` -> model of its options."""


def total_epochs(spec: Mapping[str, Any]) -> int:
    """Return how many epochs a run of this spec has at most, in all its phases."""
    own = dict(spec["strategy"])
    options = STRATEGIES[own.pop("name")](**own)
    return sum(phase.epochs for phase in options.phases(spec["training"]))
