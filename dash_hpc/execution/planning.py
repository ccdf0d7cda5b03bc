"""The runs of a study, after a look at its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dash_hpc.errors import StudyError
from dash_hpc.execution.capacity import require_memory
from dash_hpc.models.registry import family_of_spec
from dash_hpc.store import canonical_json
from dash_hpc.study import Plan, Study
from dash_hpc.study.sections import Folds
from dash_hpc.study.toml import value_text

if TYPE_CHECKING:
    from dash_hpc.data import DataSet, DataSummary

__all__ = ["MOST_LEVELS", "data_summaries", "gene_count", "input_folders", "largest_parts", "planned_runs"]

#: Data levels whose data are told one by one.
MOST_LEVELS = 12
# (data spec, base) -> what data that were read before hold
_SEEN: dict[tuple[str, str], DataSummary] = {}
# Keys of [data] that change no file, no size and nothing that could be wrong with either.
_QUIET = ("expression_noise", "seed", "time_unit")
# Which value of an axis makes a run largest or longest; of others the first counts.
_LARGEST: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "solver": {"rtol": min, "atol": min},
    "training": {"epochs": max, "prior_points": max, "tau": min},
    "schedule": {"first_epoch": max, "first_fraction": min, "fraction": min},
}


def planned_runs(study: Study) -> Plan:
    """Read the data files of a study once, then return its runs, which are not listed yet.

    A fault in a file is so told once, before anything runs, and not by every run of the study. Data without files are
    not made here: the study's own validation covers what can be wrong with them.

    Raises
    ------
    DataError, PriorError
        A file is missing or cannot be used; names file, line and gene.
    StudyError
        A strategy needs prior knowledge, and these data have none; or a run cannot fit into this machine's memory.
    """
    from dash_hpc.data import digest

    known: dict[str, str] = {}

    def digest_of(spec: Mapping[str, Any]) -> str:
        key = canonical_json({name: value for name, value in spec.items() if name not in _QUIET})
        if key not in known:
            known[key] = digest(spec, base=study.base)
        return known[key]

    needy = next((table.name for table in study.strategy if table.scalar.needs_prior), None)
    for spec in _unlike(study):
        if not digest_of(spec):
            break  # nothing is read: the study alone says what can be wrong
        dataset = _build(study, spec)
        if dataset.prior is None and needy is not None:
            raise StudyError(
                f"strategy {needy} needs prior knowledge, and data set {dataset.name} has none; give your own with "
                'kind = "files" and prior = "…", or leave the strategy out'
            )
    require_memory(study, largest_parts(study), gene_count(study))
    return Plan(study, digest_of)


def data_summaries(study: Study) -> tuple[list[tuple[str, DataSummary]], int]:
    """Return what a study's data hold, by data level (as the study file would say it; "" where there is one).

    At most ``MOST_LEVELS`` of them, and how many further ones there are. Reads only files that were not read before.
    """
    axes = study.data.axes
    folds = {key: values[:1] for key, values in axes.items() if _all_folds(values)}
    varied = [key for key, values in axes.items() if len(values) > 1 and key not in folds]
    told: list[tuple[str, DataSummary]] = []
    count = 1
    for key in varied:
        count *= len(axes[key])
    for level in study.data.combinations(folds):
        if len(told) == MOST_LEVELS:
            break
        spec = level.spec()
        name = ", ".join(f"data.{key} = {_short(spec.get(key, getattr(level, key)))}" for key in varied)
        told.append((name, _summary(study, spec)))
    return told, count - len(told)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else value_text(value)


def input_folders(study: Study) -> list[Path]:
    """Return the folders, absolute, that the data of any level are read from; raises as :func:`planned_runs` does."""
    from dash_hpc.data import input_folders as folders_of

    return sorted({folder for spec in _unlike(study) for folder in folders_of(spec, study.base)})


def gene_count(study: Study) -> int:
    """Return the number of genes of a study's largest data; reads only files that were not read before."""
    return _summary(study, _largest_data(study)).genes


def largest_parts(study: Study) -> dict[str, dict[str, Any]]:
    """Return the sections of the spec of the largest run: what memory and time are forecast for."""
    data = _largest_data(study)
    genes = _summary(study, data).genes

    def size(model: Mapping[str, Any]) -> int:
        return int(family_of_spec(model).prunable_count(model, genes)) * np.dtype(model["dtype"]).itemsize

    found = {"data": data}
    for part in ("model", "solver", "training", "schedule"):
        section = study.part(part)
        wanted = _LARGEST.get(part)
        firsts = {
            key: (wanted[key](values),) if wanted and key in wanted else values[:1]
            for key, values in section.axes.items()
            if wanted is not None
        }
        specs = [one.spec() for one in section.combinations(firsts)]
        found[part] = max(specs, key=size) if part == "model" else specs[0]
    return found


def _largest_data(study: Study) -> dict[str, Any]:
    axes = study.data.axes
    numbers = {key: (max(values),) for key, values in axes.items() if key not in _QUIET and _are_numbers(values)}
    rest = {key: values[:1] for key, values in axes.items() if key in _QUIET or _all_folds(values)}
    specs: list[dict[str, Any]] = [level.spec() for level in study.data.combinations(rest | numbers)]
    return specs[0] if len(specs) == 1 else max(specs, key=lambda spec: _summary(study, spec).genes)


def _unlike(study: Study) -> Iterator[dict[str, Any]]:
    """Data specs that differ in their files, or in what could be wrong with them."""
    axes = study.data.axes
    firsts = {key: values[:1] for key, values in axes.items() if key in _QUIET or _all_folds(values)}
    return (level.spec() for level in study.data.combinations(firsts))


def _are_numbers(values: tuple[Any, ...]) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _all_folds(values: tuple[Any, ...]) -> bool:
    return all(isinstance(value, Folds) for value in values)


def _summary(study: Study, spec: Mapping[str, Any]) -> DataSummary:
    from dash_hpc.data import foresee

    if (foreseen := foresee(spec)) is not None:
        return foreseen
    key = (canonical_json(spec), str(study.base))
    if key not in _SEEN:
        _build(study, spec)
    return _SEEN[key]


def _build(study: Study, spec: Mapping[str, Any]) -> DataSet:
    from dash_hpc.data import build, summarise

    dataset = build(spec, seed=study.sweep.seeds[0], base=study.base)
    told = _SEEN[(canonical_json(spec), str(study.base))] = summarise(dataset)
    if dataset.starts == "smoothed":
        from dash_hpc.evidence.starts import smoothing

        told.facts["starts"] = smoothing(dataset).account()
    return dataset
