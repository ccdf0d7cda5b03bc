"""Model families by name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from dash_hpc.errors import UsageError
from dash_hpc.models.family import Family
from dash_hpc.models.mlp.family import MlpFamily
from dash_hpc.models.phoenix.family import PhoenixFamily
from dash_hpc.ops.state import Tensors
from dash_hpc.study.models.section import DEFAULT_FAMILY

__all__ = ["FAMILIES", "family_named", "family_of", "family_of_spec"]

_ALL: tuple[Family, ...] = (
    PhoenixFamily(),
    MlpFamily(),
)

#: Every family by the name that a study file uses.
FAMILIES: dict[str, Family] = {family.name: family for family in _ALL}


def family_named(name: str) -> Family:
    """Return the family that a study calls ``name``; UsageError when there is none."""
    if name not in FAMILIES:
        near = get_close_matches(str(name), FAMILIES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"unknown model family {name!r}; the families are {', '.join(FAMILIES)}{hint}")
    return FAMILIES[name]


def family_of_spec(model: Mapping[str, Any]) -> Family:
    """Return the family that the section ``[model]`` of a run's spec names."""
    return family_named(model.get("family", DEFAULT_FAMILY))


def family_of(weights: Tensors) -> Family:
    """Return the family that a model's tensors belong to, by their names.

    Raises
    ------
    UsageError
        When it is none, or the shapes of the tensors do not fit each other.
    """
    for family in FAMILIES.values():
        if set(family.prunable) <= set(weights) <= set(family.names):
            family.check(weights)
            return family
    found = ", ".join(map(str, weights))
    raise UsageError(f"tensors {found} belong to no model family; there is {', '.join(FAMILIES)}")
