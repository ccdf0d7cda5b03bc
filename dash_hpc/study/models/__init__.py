"""The section ``[model]`` of every model family, by the family's name.

A new family is one section here and one class in ``dash_hpc.models`` under the same name. What a family does not want
to offer beyond size and precision it need not declare: :class:`ModelSection` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from dash_hpc.study.models.mlp import MlpSection
from dash_hpc.study.models.phoenix import PhoenixSection
from dash_hpc.study.models.section import DEFAULT_FAMILY, ModelSection
from dash_hpc.study.sections import Section
from dash_hpc.study.sweep import distinct, listed

__all__ = ["DEFAULT_FAMILY", "MODELS", "MlpSection", "ModelSection", "PhoenixSection", "by_family", "section_of"]

#: Family name -> model of its ``[model]`` section.
MODELS: dict[str, type[ModelSection]] = {"phoenix": PhoenixSection, "mlp": MlpSection}


def section_of(raw: Any) -> type[ModelSection]:
    """Return the section model that a raw ``[model]`` table names; that of the default family when it names none."""
    name = raw.get("family", DEFAULT_FAMILY) if isinstance(raw, Mapping) else DEFAULT_FAMILY
    return MODELS.get(name, MODELS[DEFAULT_FAMILY]) if isinstance(name, str) else MODELS[DEFAULT_FAMILY]


def by_family(models: Mapping[str, type[Section]], several: type[Section]) -> WrapValidator:
    """Return the validator of a section by the family that it names.

    ``models`` has one model for each family; ``several`` takes the ``members`` where it names more than one.
    """

    def one(raw: Any, name: Any) -> Section:
        if not isinstance(name, str) or name not in models:
            raise PydanticCustomError("unknown_family", "{family}", {"family": name, "legal": list(models)})
        return models[name].model_validate(raw)

    def validate(raw: Any, handler: ValidatorFunctionWrapHandler) -> Section:
        if isinstance(raw, Section):
            return raw
        name = raw.get("family", DEFAULT_FAMILY) if isinstance(raw, Mapping) else DEFAULT_FAMILY
        if not isinstance(name, list):
            return one(raw, name)
        names = distinct(listed(name))
        known = {family: set(MODELS[family].model_fields) for family in names if family in MODELS}
        every = set().union(*known.values())
        members = []
        for k, family in enumerate(names):
            # What no family knows is left to the first one to refuse.
            own = {key: raw[key] for key in raw if key in known.get(family, ()) or (k == 0 and key not in every)}
            members.append(one({**own, "family": family}, family))
        return members[0] if len(members) == 1 else several.model_validate({"members": tuple(members)})

    return WrapValidator(validate)
