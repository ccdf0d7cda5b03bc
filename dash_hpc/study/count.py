"""How many runs a study asks for, from its text alone: nothing is listed, however many they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from pydantic import BaseModel

from dash_hpc.study.models import section_of
from dash_hpc.study.sections import ScheduleSection, Section, SolverSection, TrainingSection
from dash_hpc.study.sources import DATA_KINDS
from dash_hpc.study.strategies import STRATEGIES
from dash_hpc.study.sweep import length, many
from dash_hpc.study.swept import axis_length, sweepable

__all__ = ["SCALARS", "RunCount", "count_runs"]

SCALARS: dict[str, type[Section]] = {
    "solver": SolverSection,
    "training": TrainingSection,
    "schedule": ScheduleSection,
}
"""Sections with one model whose scalars may have many values; ``data`` has one per kind, ``model`` one per family."""

_TABLES_TOLD = 5
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class RunCount:
    """How many runs an unexpanded study asks for.

    ``reason`` says how the number comes about; ``longest`` is the path of the key with most values.
    """

    total: int
    reason: str
    longest: Path


def count_runs(raw: Mapping[str, Any]) -> RunCount:
    """Count the runs of a study as it was parsed from TOML, before validation and without expanding anything."""
    sweep = raw.get("sweep")
    seeds = length(sweep.get("seeds", 0)) if isinstance(sweep, Mapping) else 1
    sizes: dict[Path, int] = {}
    for name in ("data", "model", *SCALARS):
        sizes |= {(name, key): size for key, size in _sizes(raw.get(name), _model(name, raw.get(name))).items()}
    model = raw.get("model")
    if isinstance(model, Mapping) and isinstance(families := model.get("family"), list):
        # Each family has the axes that it knows: their number is a sum, not a product.
        each = [prod(_sizes(model, section_of({"family": name})).values()) for name in families]
        sizes = {path: size for path, size in sizes.items() if path[0] != "model"} | {("model", "family"): sum(each)}
    shared = {path: size for path, size in sizes.items() if path[0] != "schedule"}
    schedule = {path: size for path, size in sizes.items() if path[0] == "schedule"}
    tables = raw.get("strategy")
    totals, reasons = [], []
    for index, table in enumerate(tables if isinstance(tables, Sequence) else ()):
        if not isinstance(table, Mapping):
            continue
        named = table.get("name")
        options = STRATEGIES.get(named) if isinstance(named, str) else None
        own: dict[Path, int] = {("strategy", index, key): size for key, size in _sizes(table, options).items()}
        sizes |= own
        own |= schedule if options is not None and options.by_schedule else {}
        totals.append(prod(own.values()))
        reasons.append(f"{table.get('name', f'strategy[{index}]')}: {_factors(own) or '1'}")
    if len(reasons) > _TABLES_TOLD:
        reasons[_TABLES_TOLD:] = [f"{len(reasons) - _TABLES_TOLD:,} further tables"]
    factors = "".join(f" × {part}" for part in (_factors(shared),) if part)
    reason = f"{many(seeds)} seeds{factors} × ({' + '.join(reasons)})"
    sizes = {("sweep", "seeds"): seeds, **sizes}
    return RunCount(seeds * prod(shared.values()) * sum(totals), reason, max(sizes, key=lambda path: sizes[path]))


def _model(section: str, table: Any) -> type[BaseModel] | None:
    if section == "model":
        return section_of(table)
    if section != "data":
        return SCALARS[section]
    kind = table.get("kind") if isinstance(table, Mapping) else None
    return DATA_KINDS.get(kind) if isinstance(kind, str) else None


def _sizes(table: Any, model: type[BaseModel] | None) -> dict[str, int]:
    """Values of each key that may have many; what is no key of the model is not expanded either."""
    if model is None or not isinstance(table, Mapping):
        return {}
    axes = sweepable(model)
    return {key: max(1, axis_length(value, axes[key])) for key, value in table.items() if key in axes}


def _factors(sizes: Mapping[Path, int]) -> str:
    def name(path: Path) -> str:
        return str(path[-1]) if path[0] == "strategy" else ".".join(map(str, path))

    return " × ".join(f"{many(size)} {name(path)}" for path, size in sizes.items() if size > 1)
