"""Sections and tables in which a scalar may have many values: each is one axis, and their product what is run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice, product
from math import prod
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, create_model, model_validator

from dash_hpc.study.sections import Folds, Section, problem_at
from dash_hpc.study.sweep import compact, distinct, expand, fold_length, folded, length, listed, whole_folds

__all__ = ["Swept", "axis_length", "sweepable", "swept"]

# So many combinations are checked with the study, in about a second; of further ones each when it is listed.
_CHECKED = 50_000

Way = Literal["range", "list", "folds"]
_EXPAND: dict[Way, Callable[[Any], tuple[Any, ...]]] = {"range": expand, "list": listed, "folds": folded}

SweptModel = TypeVar("SweptModel", bound="Swept")


class Swept(Section):
    """A section with all the values that each of its scalars takes; ``scalar`` is the model of one combination."""

    scalar: ClassVar[type[BaseModel]]

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """All values of each scalar, in the order of the model."""
        return {key: getattr(self, key) for key in self.scalar.model_fields if key in sweepable(self.scalar)}

    @property
    def size(self) -> int:
        """Number of combinations."""
        return prod(len(values) for values in self.axes.values())

    def combinations(self, axes: Mapping[str, tuple[Any, ...]] | None = None) -> Iterator[Any]:
        """Yield each combination as a model of its own; the last axis varies fastest.

        ``axes`` has the values to take in place of all.
        """
        own = self.axes | dict(axes or {})
        fixed = {key: getattr(self, key) for key in self.scalar.model_fields if key not in own}
        for values in product(*own.values()):
            yield self.scalar(**fixed, **dict(zip(own, values, strict=True)))

    def first(self) -> Any:
        """Return the first combination."""
        return next(self.combinations())

    @model_validator(mode="after")
    def _each_is_consistent(self) -> Swept:
        try:
            for _ in islice(self.combinations(), _CHECKED):
                pass
        except ValidationError as error:
            context = error.errors()[0].get("ctx", {})
            raise problem_at(str(context.get("key", "")), str(context.get("message", error))) from None
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return plain values as a study file has them: one value where there is one, long runs as ranges."""
        plain = self.first().model_dump(mode="json", exclude_none=True)
        every = self.model_dump(mode="json")
        for key, values in self.axes.items():
            if len(values) > 1:
                plain[key] = whole_folds(compact(every[key]))
        return plain


def swept(scalar: type[BaseModel], base: type[SweptModel], **tags: Any) -> type[SweptModel]:
    """Make the model of a section from that of one combination: every scalar ``x: T`` becomes ``x: tuple[T, ...]``.

    ``tags`` are further fields, which come first.
    """
    fields: dict[str, Any] = dict(tags)
    axes = sweepable(scalar)
    for key, info in scalar.model_fields.items():
        if key not in axes:
            fields[key] = (info.annotation, info)
            continue
        # A plain annotation must not be wrapped: Annotated needs at least one piece of metadata.
        also = [Field(discriminator=info.discriminator)] if info.discriminator is not None else []
        pieces = [*also, *info.metadata]
        element = Annotated[(info.annotation, *pieces)] if pieces else info.annotation
        axis = Annotated[
            tuple[element, ...],  # type: ignore[valid-type]
            Field(strict=False),
            BeforeValidator(_EXPAND[axes[key]]),
            AfterValidator(distinct),
        ]
        default = ... if info.is_required() else (info.get_default(call_default_factory=True),)
        fields[key] = (axis, Field(default, description=info.description))
    made = create_model(f"Swept{scalar.__name__}", __base__=base, __doc__=scalar.__doc__, **fields)
    made.scalar = scalar
    return made


def sweepable(scalar: type[BaseModel]) -> dict[str, Way]:
    """Return the keys that may have many values, and how these are written.

    "range": as a list or a range; "list": as a list (in a path a range is a name); "folds": as ``{ folds = K }`` alone.
    Lists and tables have no further values, nor has what tells the kinds of a section apart.
    """
    found: dict[str, Way] = {}
    for key, info in scalar.model_fields.items():
        leaves = list(_leaves(info.annotation))
        tag = len(leaves) == 1 and get_origin(leaves[0]) is Literal and len(get_args(leaves[0])) == 1
        whole = any((get_origin(leaf) or leaf) in (tuple, list, dict) for leaf in leaves)
        if Folds in leaves and (whole or len(leaves) == 1):
            found[key] = "folds"
        elif not tag and not whole:
            found[key] = "range" if any(leaf in (int, float) for leaf in leaves) else "list"
    return found


def axis_length(value: Any, way: Way) -> int:
    """Return how many values of one axis ``value`` stands for, without listing them."""
    if way == "list":
        return len(value) if isinstance(value, (list, tuple)) else 1
    return length(value) if way == "range" else fold_length(value)


def _leaves(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from _leaves(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _leaves(part)
    elif annotation is not type(None):
        yield annotation
