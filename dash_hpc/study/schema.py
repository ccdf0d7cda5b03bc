"""The whole study as one validated, immutable object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Union

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, SerializeAsAny, model_validator
from pydantic_core import CoreSchema

from dash_hpc.study.count import SCALARS, count_runs
from dash_hpc.study.models import MODELS, PhoenixSection, by_family
from dash_hpc.study.options import StrategyOptions
from dash_hpc.study.sections import Section, StudySection, SweepSection, problem_at
from dash_hpc.study.sources import DATA_KINDS
from dash_hpc.study.strategies import STRATEGIES
from dash_hpc.study.sweep import MAX_RUNS, compact, many
from dash_hpc.study.swept import Swept, swept
from dash_hpc.study.toml import to_toml

__all__ = ["PARTS", "SECTIONS", "StrategyTable", "Study", "SweptSection", "tables"]

PARTS = ("data", "model", *SCALARS)
"""Sections that are part of a run's spec."""


class SweptSection(Swept):
    """A section that is part of a run's spec, with all the values of each scalar."""

    scalar: ClassVar[type[Section]] = Section

    def specs(self) -> Iterator[dict[str, Any]]:
        """Yield each combination as it stands in a run's spec: plain and complete."""
        for section in self.combinations():
            yield section.spec()


class ModelTable(SweptSection):
    """``[model]`` of several families: each key belongs to those that know it."""

    members: tuple[SweptSection, ...]

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        merged: dict[str, tuple[Any, ...]] = {"family": tuple(member.first().family for member in self.members)}
        for member in self.members:
            merged = member.axes | merged
        return merged

    @property
    def size(self) -> int:
        return sum(member.size for member in self.members)

    def combinations(self, axes: Mapping[str, tuple[Any, ...]] | None = None) -> Iterator[Any]:
        wanted = dict(axes or {})
        families = wanted.pop("family", None)
        for member in self.members:
            if families is None or member.first().family in families:
                yield from member.combinations({key: wanted[key] for key in wanted if key in member.axes})

    def to_dict(self) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for member in self.members:
            merged = member.to_dict() | merged
        return {"family": list(self.axes["family"]), **{key: v for key, v in merged.items() if key != "family"}}


class StrategyTable(Swept):
    """One ``[[strategy]]`` table: a name, and for each option all the values it takes."""

    scalar: ClassVar[type[StrategyOptions]] = StrategyOptions

    name: str

    def specs(self) -> Iterator[dict[str, Any]]:
        """Yield each combination of options with the name, plain and complete."""
        for options in self.combinations():
            yield {"name": self.name, **options.model_dump(mode="json")}


@cache
def tables() -> dict[str, type[StrategyTable]]:
    """Return, by strategy name, the model of its ``[[strategy]]`` table."""
    return {
        name: swept(options, StrategyTable, name=(Literal[name], Field(description="which strategy")))
        for name, options in STRATEGIES.items()
    }


@cache
def families() -> dict[str, type[SweptSection]]:
    """Return, by family, the model of ``[model]``."""
    return {name: _PHOENIX if own is PhoenixSection else swept(own, SweptSection) for name, own in MODELS.items()}


class _OfItsName:
    """Validates a table by the model that its name calls for."""

    @staticmethod
    def __get_pydantic_core_schema__(source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        every = Union[tuple(tables().values())]  # type: ignore[valid-type]  # noqa: UP007 - built at run time
        return handler.generate_schema(Annotated[every, Field(discriminator="name")])


AnyTable = Annotated[StrategyTable, _OfItsName]

_DATA = {kind: swept(model, SweptSection) for kind, model in DATA_KINDS.items()}
_PHOENIX = swept(PhoenixSection, SweptSection)
_SWEPT = {name: swept(model, SweptSection) for name, model in SCALARS.items()}


class _OfItsKind:
    """Validates ``[data]`` by the model that its kind calls for."""

    @staticmethod
    def __get_pydantic_core_schema__(source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        every = Union[tuple(_DATA.values())]  # type: ignore[valid-type]  # noqa: UP007 - built at run time
        return handler.generate_schema(Annotated[every, Field(discriminator="kind")])


class _Of:
    """Validates a section by its model; left out, it has the defaults."""

    def __init__(self, model: type[SweptSection]) -> None:
        self.model = model

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler.generate_schema(self.model)


class Study(Section):
    """A study: strategies and seeds, and what else is varied; every combination is a run.

    Made by ``load_study``. All keys are complete: what the file left out has its default. A scalar of a section or
    table is the tuple of its values.
    """

    # The strategies are looked up when the first study is validated, not when this module is imported.
    model_config = ConfigDict(defer_build=True)

    study: StudySection
    data: Annotated[SweptSection, _OfItsKind]
    model: Annotated[SerializeAsAny[SweptSection], by_family(families, ModelTable)] = _PHOENIX()
    solver: Annotated[SweptSection, _Of(_SWEPT["solver"])] = _SWEPT["solver"]()
    training: Annotated[SweptSection, _Of(_SWEPT["training"])] = _SWEPT["training"]()
    schedule: Annotated[SweptSection, _Of(_SWEPT["schedule"])] = _SWEPT["schedule"]()
    sweep: SweepSection = SweepSection()
    strategy: Annotated[tuple[AnyTable, ...], Field(strict=False, min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _not_too_large(cls, raw: Any) -> Any:
        if isinstance(raw, dict):
            count = count_runs(raw)
            if count.total > MAX_RUNS:
                message = f"{many(count.total)} runs ({count.reason}); at most {MAX_RUNS:,} are allowed"
                raise problem_at("sweep", message)
        return raw

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        for index, table in enumerate(self.strategy):
            if table.scalar.needs_prior and self.data.first().without_prior:
                message = f'needs prior knowledge ({table.name} does): add prior = "…" to [data]'
                raise problem_at(f"strategy.{index}.name", message)
            self._check_family(index, table)
        self._check_options()
        seen: dict[str, list[tuple[int, set[tuple[Any, ...]]]]] = {}
        for index, table in enumerate(self.strategy):
            earlier = seen.setdefault(table.name, [])
            # One table cannot repeat itself (each axis is distinct), so only tables of one name are compared.
            again = [other for other in self.strategy if other.name == table.name]
            points = set(product(*table.axes.values())) if len(again) > 1 else set()
            for other_index, other_points in earlier:
                if both := points & other_points:
                    values = zip(table.axes, min(both, key=repr), strict=True)
                    what = ", ".join(f"{key} = {value}" for key, value in values if len(table.axes[key]) > 1)
                    message = f"repeats runs of strategy[{other_index}]" + (f" ({what})" if what else "")
                    raise problem_at(f"strategy.{index}.name", f"{message}: every run must be different")
            earlier.append((index, points))
        return self

    def _check_family(self, index: int, table: StrategyTable) -> None:
        relation, structure, assembly = (
            "layers that have a relation to prior networks",
            "a model that can be built on a structure",
            "a model that can be written down without training",
        )
        for family in dict.fromkeys(one.family for one in self.model.combinations()):
            model = MODELS[family]
            for needed, offered, what in (
                (table.scalar.needs_relation, model.relates_to_prior, relation),
                (table.scalar.needs_structure, model.takes_structure, structure),
                (table.scalar.needs_assembly, model.assembled, assembly),
            ):
                if needed and not offered:
                    message = f"needs {what}, which model.family = {family} has not: choose another strategy or family"
                    raise problem_at(f"strategy.{index}.name", message)

    def _check_options(self) -> None:
        first = min(self.schedule.axes["first_epoch"])
        for index, table in enumerate(self.strategy):
            for key, values in table.axes.items():
                if wrong := next(filter(None, (table.scalar.unfit(key, value, first) for value in values)), ""):
                    raise problem_at(f"strategy.{index}.{key}", wrong)
            some = table.scalar.unread is not StrategyOptions.unread
            found = (options.wasted() for options in table.combinations()) if some else ()
            if wasted := next(filter(None, found), None):
                raise problem_at(f"strategy.{index}.{wasted[0]}", wasted[1])

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.study.name

    @property
    def base(self) -> Path:
        """Folder that relative paths of ``[data]`` start from."""
        return Path(self.study.base or ".")

    @property
    def output(self) -> Path:
        """Output folder, relative to the current folder unless absolute."""
        return Path(self.study.output or f"results/{self.name}")

    @property
    def n_runs(self) -> int:
        """Number of runs in the plan."""
        shared = len(self.sweep.seeds) * self.data.size * self.model.size * self.solver.size * self.training.size
        schedules = {True: self.schedule.size, False: 1}
        return shared * sum(table.size * schedules[table.scalar.by_schedule] for table in self.strategy)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Data, model, solver, training and schedule of the first combination, plain and complete."""
        return {part: self.part(part).first().spec() for part in PARTS}

    def part(self, name: str) -> SweptSection:
        """Return one of the sections ``PARTS``."""
        section: SweptSection = getattr(self, name)
        return section

    def data_spec(self) -> dict[str, Any]:
        """Return what ``dash_hpc.data.build`` and ``dash_hpc.data.digest`` take, of the first data level."""
        return dict(self.settings["data"])

    def to_dict(self) -> dict[str, Any]:
        """Return the study with every default filled in, as it would be parsed from TOML (None left out)."""
        # Without the preset: its keys stand below, and mean the same when a later preset has other ones.
        full: dict[str, Any] = {"study": self.study.model_dump(mode="json", exclude_none=True, exclude={"preset"})}
        full |= {part: self.part(part).to_dict() for part in PARTS}
        full["sweep"] = self.sweep.model_dump(mode="json")
        full["sweep"]["seeds"] = compact(full["sweep"]["seeds"])
        full["strategy"] = [{"name": table.name, **table.to_dict()} for table in self.strategy]
        return full

    def to_toml(self) -> str:
        """Return the resolved study as a TOML text; loading it gives the same plan."""
        return to_toml(self.to_dict())


SECTIONS: dict[str, type[Section]] = {
    "study": StudySection,
    "model": PhoenixSection,
    **SCALARS,
    "sweep": SweepSection,
}
"""Sections by name, of one combination. ``data`` has one model per kind, ``strategy`` one per name; ``model`` has one
per family, here that of the default one (``dash_hpc.study.models.section_of`` knows the others)."""
