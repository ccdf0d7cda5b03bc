"""The whole study as one validated, immutable object."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, cached_property
from itertools import product
from math import prod
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Union

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    create_model,
    model_validator,
)
from pydantic_core import CoreSchema

from dash_hpc.study.models import AnyModel, PhoenixSection
from dash_hpc.study.options import StrategyOptions
from dash_hpc.study.sections import (
    ScheduleSection,
    Section,
    SolverSection,
    StudySection,
    SweepSection,
    TrainingSection,
    problem_at,
)
from dash_hpc.study.sources import DataSection
from dash_hpc.study.strategies import STRATEGIES
from dash_hpc.study.sweep import MAX_RUNS, compact, count_runs, distinct, expand, many
from dash_hpc.study.toml import to_toml

__all__ = ["SECTIONS", "StrategyTable", "Study", "tables"]


class StrategyTable(Section):
    """One ``[[strategy]]`` table: a name, and for each option all the values it takes.

    The model of each strategy is made from its options model, every option ``x: T`` becoming ``x: tuple[T, ...]``.
    """

    options: ClassVar[type[StrategyOptions]] = StrategyOptions

    name: str

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """Values of each option, in the order of the options model."""
        return {key: getattr(self, key) for key in self.options.model_fields}

    @property
    def size(self) -> int:
        """Number of combinations."""
        return prod(len(values) for values in self.axes.values())

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yield each combination of options with the name, complete; the last option varies fastest."""
        axes = self.axes
        for values in product(*axes.values()):
            chosen = self.options(**dict(zip(axes, values, strict=True)))
            yield {"name": self.name, **chosen.model_dump(mode="json")}


def _swept(name: str, options: type[StrategyOptions]) -> type[StrategyTable]:
    fields: dict[str, Any] = {"name": (Literal[name], Field(description="which strategy"))}
    for key, info in options.model_fields.items():
        # A plain annotation must not be wrapped: Annotated needs at least one piece of metadata.
        element = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
        axis = Annotated[
            tuple[element, ...],  # type: ignore[valid-type]
            Field(strict=False),
            BeforeValidator(expand),
            AfterValidator(distinct),
        ]
        default = ... if info.is_required() else (info.get_default(call_default_factory=True),)
        fields[key] = (axis, Field(default, description=info.description))
    table = create_model(f"{options.__name__}Table", __base__=StrategyTable, __doc__=options.__doc__, **fields)
    table.options = options
    return table


@cache
def tables() -> dict[str, type[StrategyTable]]:
    """Return, by strategy name, the model of its ``[[strategy]]`` table."""
    return {name: _swept(name, options) for name, options in STRATEGIES.items()}


class _OfItsName:
    """Validates a table by the model that its name calls for."""

    @staticmethod
    def __get_pydantic_core_schema__(source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        every = Union[tuple(tables().values())]  # type: ignore[valid-type]  # noqa: UP007 - built at run time
        return handler.generate_schema(Annotated[every, Field(discriminator="name")])


AnyTable = Annotated[StrategyTable, _OfItsName]


class Study(Section):
    """A study: one data set, one set of settings, many (strategy, options, seed) runs.

    Made by ``load_study``. All keys are complete: what the file left out has its default.
    """

    # The strategies are looked up when the first study is validated, not when this module is imported.
    model_config = ConfigDict(defer_build=True)

    study: StudySection
    data: DataSection
    model: AnyModel = PhoenixSection()
    solver: SolverSection = SolverSection()
    training: TrainingSection = TrainingSection()
    schedule: ScheduleSection = ScheduleSection()
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
            if table.options.needs_prior and self.data.without_prior:
                message = f'needs prior knowledge ({table.name} does): add prior = "…" to [data]'
                raise problem_at(f"strategy.{index}.name", message)
        self._check_rewind()
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

    def _check_rewind(self) -> None:
        first = self.schedule.first_epoch
        for index, table in enumerate(self.strategy):
            late = [k for k in table.axes.get("rewind", ()) if isinstance(k, int) and k >= first]
            if late:
                message = f"must be smaller than schedule.first_epoch = {first}: those weights do not exist yet"
                raise problem_at(f"strategy.{index}.rewind", message)

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
        return len(self.sweep.seeds) * sum(table.size for table in self.strategy)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The parts that all runs share, plain and complete: data, model, solver, training, schedule."""
        parts = ("data", "model", "solver", "training", "schedule")
        return {part: getattr(self, part).model_dump(mode="json") for part in parts}

    def data_spec(self) -> dict[str, Any]:
        """Return what ``dash_hpc.data.build`` and ``dash_hpc.data.digest`` take."""
        return dict(self.settings["data"])

    def to_dict(self) -> dict[str, Any]:
        """Return the study with every default filled in, as it would be parsed from TOML (None left out)."""
        full = self.model_dump(mode="json", exclude_none=True)
        full["sweep"]["seeds"] = compact(full["sweep"]["seeds"])
        for table in full["strategy"]:
            for key, values in table.items():
                if isinstance(values, list):
                    table[key] = values[0] if len(values) == 1 else compact(values)
        return full

    def to_toml(self) -> str:
        """Return the resolved study as a TOML text; loading it gives the same plan."""
        return to_toml(self.to_dict())


SECTIONS: dict[str, type[Section]] = {
    "study": StudySection,
    "model": PhoenixSection,
    "solver": SolverSection,
    "training": TrainingSection,
    "schedule": ScheduleSection,
    "sweep": SweepSection,
}
"""Sections by name. ``data`` has one model per kind, ``strategy`` one per name; ``model`` has one per family, here that
of the default one (``dash_hpc.study.models.section_of`` knows the others)."""
