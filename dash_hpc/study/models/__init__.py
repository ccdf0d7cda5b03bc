"""The section ``[model]`` of every model family, by the family's name.

A new family is one section here and one class in ``dash_hpc.models`` under the same name. What a family does not want
to offer beyond size and precision it need not declare: :class:`ModelSection` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import SerializeAsAny, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from dash_hpc.study.models.phoenix import PhoenixSection
from dash_hpc.study.models.section import DEFAULT_FAMILY, ModelSection

__all__ = ["DEFAULT_FAMILY", "MODELS", "AnyModel", "ModelSection", "PhoenixSection", "section_of"]

#: Family name -> model of its ``[model]`` section.
MODELS: dict[str, type[ModelSection]] = {"phoenix": PhoenixSection}


def section_of(raw: Any) -> type[ModelSection]:
    """Return the section model that a raw ``[model]`` table names; that of the default family when it names none."""
    name = raw.get("family", DEFAULT_FAMILY) if isinstance(raw, Mapping) else DEFAULT_FAMILY
    return MODELS.get(name, MODELS[DEFAULT_FAMILY]) if isinstance(name, str) else MODELS[DEFAULT_FAMILY]


def _by_family(raw: Any, handler: ValidatorFunctionWrapHandler) -> ModelSection:
    if isinstance(raw, ModelSection):
        return raw
    if isinstance(raw, Mapping):
        name = raw.get("family", DEFAULT_FAMILY)
        if not isinstance(name, str) or name not in MODELS:
            raise PydanticCustomError("unknown_family", "{family}", {"family": name, "legal": list(MODELS)})
    return section_of(raw).model_validate(raw)


#: A section of whatever family it names.
AnyModel = Annotated[SerializeAsAny[ModelSection], WrapValidator(_by_family)]
