"""What the section ``[model]`` has for every model family."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from dash_hpc.study.sections import Section

__all__ = ["DEFAULT_FAMILY", "ModelSection"]

#: The family of a study that names none. Specs of its runs do not name it either: they are older than families.
DEFAULT_FAMILY = "phoenix"


class ModelSection(Section):
    """Base of the families' sections: size and precision. A subclass sets ``family`` and adds keys of its own."""

    #: Whether the family's layers have a relation to prior networks: what ``dash`` and ``bioprune`` need.
    relates_to_prior: ClassVar[bool] = False
    #: Whether the family can be built on a structure that is given: what ``structured`` needs.
    takes_structure: ClassVar[bool] = False
    #: Whether a model can be written down from the drives of its genes: what ``evidence`` needs.
    assembled: ClassVar[bool] = False

    family: str
    hidden: int = Field(default=40, ge=1, le=100_000, description="m, hidden units per branch")
    dtype: Literal["float32", "float64"] = Field(default="float32", description="precision of weights and states")

    @model_serializer(mode="wrap")
    def _without_default_family(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = handler(self)
        if plain.get("family") == DEFAULT_FAMILY:
            del plain["family"]
        return plain
