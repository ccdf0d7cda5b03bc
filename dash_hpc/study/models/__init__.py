"""The section ``[model]`` of every model family, as study files know them: name -> section.

Families stand in ``dash_hpc.models`` and ``dash_hpc.models.registry`` lists them. Nothing here imports that floor: the
registry is looked up by its name, as an entry point is, when a study is validated for the first time. What a family
does not want to offer beyond size and precision it need not declare: :class:`ModelSection` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

from pydantic import ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from dash_hpc.study.models.phoenix import PhoenixSection
from dash_hpc.study.models.section import DEFAULT_FAMILY, ModelSection
from dash_hpc.study.sections import Section
from dash_hpc.study.sweep import distinct, listed

__all__ = ["DEFAULT_FAMILY", "MODELS", "ModelSection", "PhoenixSection", "by_family", "section_of"]

_REGISTRY = "dash_hpc.models.registry"


class _Registered(Mapping[str, type[ModelSection]]):
    """The sections of whatever is registered."""

    @staticmethod
    def _families() -> Mapping[str, Any]:
        found: Mapping[str, Any] = import_module(_REGISTRY).FAMILIES
        return found

    def __getitem__(self, name: str) -> type[ModelSection]:
        section: type[ModelSection] = self._families()[name].Section
        return section

    def __iter__(self) -> Iterator[str]:
        return iter(self._families())

    def __len__(self) -> int:
        return len(self._families())


#: Family name -> model of its ``[model]`` section.
MODELS: Mapping[str, type[ModelSection]] = _Registered()


def section_of(raw: Any) -> type[ModelSection]:
    """Return the section model that a raw ``[model]`` table names; that of the default family when it names none."""
    name = raw.get("family", DEFAULT_FAMILY) if isinstance(raw, Mapping) else DEFAULT_FAMILY
    return MODELS.get(name, MODELS[DEFAULT_FAMILY]) if isinstance(name, str) else MODELS[DEFAULT_FAMILY]


def by_family(models: Callable[[], Mapping[str, type[Section]]], several: type[Section]) -> WrapValidator:
    """Return the validator of a section by the family that it names.

    ``models`` returns one model for each family; ``several`` takes the ``members`` where it names more than one.
    """

    def one(raw: Any, name: Any) -> Section:
        known = models()
        if not isinstance(name, str) or name not in known:
            raise PydanticCustomError("unknown_family", "{family}", {"family": name, "legal": list(known)})
        return known[name].model_validate(raw)

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
