"""From a study to its runs: each a plain dictionary with an id made from its content."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from dash_hpc.ids import spec_id
from dash_hpc.study.schema import PARTS, StrategyTable, Study

__all__ = ["Plan", "RunSpec", "plan"]


@dataclass(frozen=True)
class RunSpec:
    """One run: ``id`` (16 hexadecimal digits) and ``spec``, everything that decides its result.

    ``spec`` has the keys data, data_digest, model, solver, training, schedule, strategy and seed; it is plain
    (JSON-able). Specs of one plan share their common parts, so do not change them in place.
    """

    id: str
    spec: dict[str, Any]


class Plan:
    """The runs of a study, made as they are asked for: a million are counted without being listed.

    Unpruned runs come first (they stay dense to the end and take longest), then the rest; among these in the order of
    the file: strategies, then data, model, solver, training, schedule, options, and seeds, which vary fastest. What
    does not prune by the schedule is run at the first one alone.

    Parameters
    ----------
    study : Study
        As loaded by ``load_study``.
    digest : callable
        Data spec -> ``dash_hpc.data.digest`` of its data ("" for simulated data), so that changed files make new runs.
    """

    def __init__(self, study: Study, digest: Callable[[Mapping[str, Any]], str]) -> None:
        self.study, self._digest = study, digest
        self._tables = sorted(study.strategy, key=lambda table: table.scalar.prunes)

    def __len__(self) -> int:
        return self.study.n_runs

    def __iter__(self) -> Iterator[RunSpec]:
        for table in self._tables:
            for shared in self._shared(table):
                for strategy in table.specs():
                    for seed in self.study.sweep.seeds:
                        spec = {**shared, "strategy": strategy, "seed": seed}
                        yield RunSpec(spec_id(spec), spec)

    def counts(self) -> dict[str, int]:
        """Return the number of runs of each strategy, in the order of the plan."""
        found: dict[str, int] = {}
        for table in self._tables:
            found[table.name] = found.get(table.name, 0) + self._count(table)
        return found

    def samples(self, axes: Mapping[str, Collection[str]]) -> Iterator[tuple[RunSpec, int]]:
        """Yield one run for each combination of some axes (section -> keys), with the number of runs that have it.

        Where families have axes of their own, that is the mean, rounded up.
        All other axes are at their first value, and so is the digest of the data.
        """
        digest = self._digest(self.study.data_spec())
        for table in self._tables:
            parts = {}
            for part in PARTS:
                section = self.study.part(part)
                kept = axes.get(part, ()) if table.scalar.by_schedule or part != "schedule" else ()
                firsts = {key: values[:1] for key, values in section.axes.items() if key not in kept}
                parts[part] = [one.spec() for one in section.combinations(firsts)]
            strategy = next(table.specs())
            count = -(-self._count(table) // prod(map(len, parts.values())))
            for values in product(*parts.values()):
                spec = {**dict(zip(parts, values, strict=True)), "data_digest": digest, "strategy": strategy}
                spec["seed"] = self.study.sweep.seeds[0]
                yield RunSpec(spec_id(spec), spec), count

    def _count(self, table: StrategyTable) -> int:
        parts = [part for part in PARTS if table.scalar.by_schedule or part != "schedule"]
        return table.size * len(self.study.sweep.seeds) * prod(self.study.part(part).size for part in parts)

    def _shared(self, table: StrategyTable) -> Iterator[dict[str, Any]]:
        parts = {part: list(self.study.part(part).specs()) for part in PARTS[1:]}
        if not table.scalar.by_schedule:
            parts["schedule"] = parts["schedule"][:1]
        for data in self.study.data.specs():
            digest = self._digest(data)
            for values in product(*parts.values()):
                yield {"data": data, **dict(zip(parts, values, strict=True)), "data_digest": digest}


def plan(study: Study, digest: str) -> list[RunSpec]:
    """List all runs of a study whose data have one digest, whatever their level; see :class:`Plan`."""
    return list(Plan(study, lambda _: digest))
