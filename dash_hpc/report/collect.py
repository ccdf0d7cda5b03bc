"""Everything that a report is made of, read once from a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from dash_hpc.errors import DashHpcError, StudyError
from dash_hpc.evaluation import (
    Level,
    Selection,
    bioprune_curve,
    evaluation_notes,
    levels,
    select_setting,
    setting_columns,
)
from dash_hpc.models.registry import family_of_spec
from dash_hpc.pruning.schedule import LatticeSchedule
from dash_hpc.report.controls import data_controls
from dash_hpc.report.material import Group, Material, mean_sd, sparsity_column

__all__ = ["MOST_LEVELS", "collect", "collect_levels", "first_level"]

#: Data levels whose data are built again, for their controls; of further ones there is what the runs have recorded.
MOST_LEVELS = 12
# Draws of the untrained control: few over all its events, enough for a spread where it is compared.
_EVENT_DRAWS, _SPREAD_DRAWS = 3, 20
# Table and report of one study are made one after the other: the second need not read everything again.
_RECENT: WeakKeyDictionary[Any, tuple[Any, list[Material]]] = WeakKeyDictionary()
_MOST_GENES = 5000  # of a network that is shown without its data
_BIOPRUNE_GENES = 2500  # above this the untrained control takes minutes: it is left out, and the report says so


def collect(store: Any, *, rule: str = "one_se", data: bool = True) -> Material:
    """Return of :func:`collect_levels` the one that is shown in detail, see :func:`first_level`."""
    return first_level(collect_levels(store, rule=rule, data=data))


def first_level(levels: Sequence[Material]) -> Material:
    """Return the first data level that has a finished run, else the first one."""
    return next((material for material in levels if (material.runs["status"] == "done").any()), levels[0])


def collect_levels(store: Any, *, rule: str = "one_se", data: bool = True) -> list[Material]:
    """Read a store: divide its runs by data level, group them, choose settings, rebuild the data, and compute the
    controls that need no model.

    Parameters
    ----------
    store : Store
        As returned by ``open_store``.
    rule : {"one_se", "best"}
        For the choice of settings.
    data : bool
        Whether to build the data sets again (for trajectories, gene names and the training-free control).

    Returns
    -------
    list of Material
        One for each data level, in the order of the plan.

    Raises
    ------
    StoreError
        When the store has no run.
    UsageError
        Unknown rule.
    """
    runs = store.runs
    state = (rule, data, tuple(runs.index), tuple(runs["status"]) if len(runs) else ())
    known = _RECENT.get(store)
    if known is not None and known[0] == state:
        return known[1]
    found = [_material(store, level, rule, data and number < MOST_LEVELS) for number, level in enumerate(levels(runs))]
    _RECENT[store] = (state, found)
    return found


def _material(store: Any, level: Level, rule: str, data: bool) -> Material:
    runs = level.runs
    selections, no_selection = _select(runs, rule)
    groups = _groups(runs, selections)
    material = Material(store, runs, {}, groups, selections, no_selection, None, "", level=level.values)
    spec = _any_spec(store, runs, material.selection)
    unfit = _unfit(spec)
    if unfit:
        spec = {}
    dataset, problem = _dataset(store, spec) if data and spec else (None, unfit)
    notes = list(evaluation_notes(dataset)) if dataset is not None else []
    controls = {
        str(name): mean_sd(runs[name])[0]
        for name in runs.columns
        if str(name).startswith("control_") or name == "persistence_mse"
    }
    material = replace(
        material,
        spec=spec,
        dataset=dataset,
        data_problem=problem,
        controls={name: value for name, value in controls.items() if np.isfinite(value)},
        data_notes=tuple(dataset.notes) if dataset is not None else (),
        mixtures=tuple(store.mixtures()),
    )
    more, left_out = data_controls(material)
    material = replace(material, controls=material.controls | more)
    notes += [left_out] if left_out else []
    if dataset is not None and dataset.truth is not None and dataset.prior is not None:
        if dataset.truth.shape[0] <= _BIOPRUNE_GENES:
            bioprune, event = _untrained(dataset, spec, [material.chosen] if material.chosen else groups)
            material = replace(material, bioprune=bioprune, bioprune_event=event)
        else:
            notes.append(
                f"The training-free BioPrune control was not computed: {dataset.truth.shape[0]:,} genes are more than "
                f"the {_BIOPRUNE_GENES:,} up to which a report does this."
            )
    if unshown := _unshown(material):
        notes.append(unshown)
    return replace(material, unshown=unshown, notes=tuple(notes))


def _unshown(material: Material) -> str:
    """Say which network does not belong to the data, so that nothing of its size is made; "" when all do.

    Without data at hand, tables and figures of G × G have no bound but what a file claims.
    """
    candidates = [material.best_run([group]) for group in material.groups]
    for run_id in dict.fromkeys([material.main_run, *candidates]):
        if run_id is None:
            continue
        n_genes = material.store.record(run_id, tables=False, network=False).n_genes or 0
        if material.dataset is None and n_genes > _MOST_GENES:
            return f"No network is shown: run {run_id} has {n_genes:,} genes, and its data could not be read again."
        if material.dataset is not None and n_genes != material.dataset.train.n_genes:
            genes = material.dataset.train.n_genes
            return f"No network is shown: that of run {run_id} has {n_genes:,} genes, and its data have {genes:,}."
    return ""


def _select(runs: pd.DataFrame, rule: str) -> tuple[dict[str, Selection], dict[str, str]]:
    """The choice of each strategy that has something to choose, or why there is none."""
    found, refused = {}, {}
    for strategy in map(str, dict.fromkeys(runs["strategy"])):
        if not setting_columns(runs[runs["strategy"] == strategy], strategy):
            continue
        try:
            found[strategy] = select_setting(runs, rule, strategy=strategy)  # type: ignore[arg-type]
        except DashHpcError as error:
            if rule not in ("one_se", "best"):
                raise
            refused[strategy] = f"{str(error)[:1].upper()}{str(error)[1:]}."
    return found, refused


def _groups(runs: pd.DataFrame, selections: Mapping[str, Selection]) -> tuple[Group, ...]:
    groups: list[Group] = []
    for strategy in map(str, dict.fromkeys(runs["strategy"])):
        mine = runs[runs["strategy"] == strategy]
        keys = setting_columns(mine, strategy)
        parts = mine.groupby(keys, sort=True, dropna=False) if keys else [((), mine)]
        selection = selections.get(strategy)
        for values, members in parts:
            chosen = selection is not None and selection.run_id in members.index
            groups.append(Group(strategy, dict(zip(keys, values, strict=True)), members, chosen))
    return tuple(groups)


def _any_spec(store: Any, runs: pd.DataFrame, selection: Selection | None) -> dict[str, Any]:
    if selection is not None:
        return dict(store.spec(selection.run_id))
    done = runs.index[runs["status"] == "done"] if not runs.empty else []
    ids = [*done, *runs.index, *getattr(store, "planned", ())]
    return dict(store.spec(str(ids[0]))) if ids else {}


def _unfit(spec: Mapping[str, Any]) -> str:
    """Why nothing is to be made after this spec, which may come from anybody's folder; "" when it is a study's."""
    from dash_hpc.study import check_spec

    try:
        check_spec(spec)
    except StudyError as error:
        return str(error) if spec else ""
    return ""


def _dataset(store: Any, spec: Mapping[str, Any]) -> tuple[Any, str]:
    from dash_hpc.data import build
    from dash_hpc.store import plan_header

    try:
        return build(spec["data"], seed=int(spec["seed"]), base=plan_header(store.folder).base), ""
    except (DashHpcError, OSError) as error:
        return None, str(error)


def _untrained(
    dataset: Any, spec: Mapping[str, Any], groups: Sequence[Group]
) -> tuple[pd.DataFrame | None, int | None]:
    """The untrained control by event, and the event that stands beside the models."""
    schedule, family = spec["schedule"], family_of_spec(spec["model"])
    if not family.Section.relates_to_prior:
        return None, None
    events = len(LatticeSchedule(**schedule).events(int(spec["training"]["epochs"])))

    def curve(draws: range, events: int, only: Sequence[int] | None = None) -> pd.DataFrame:
        hidden = int(spec["model"]["hidden"])
        options: dict[str, Any] = {"hidden": hidden, "schedule": schedule, "seeds": draws, "events": events}
        options["family"] = family.name
        return bioprune_curve(dataset.prior, dataset.truth, only=only, **options)

    try:
        drawn = curve(range(_EVENT_DRAWS), max(events, 1))
        event = _nearest(drawn.groupby("event")["sparsity"].mean(), groups)
        # Comparing takes most of the time, and the spread is read at one event alone.
        more = curve(range(_EVENT_DRAWS, _SPREAD_DRAWS), event + 1, (event,))
    except DashHpcError:
        return None, None  # a prior that cannot be scored: the control is then absent from table and figure
    by_event = pd.concat([drawn, more]).groupby("event")
    table = by_event.mean().drop(columns="seed")
    table["study_sparsity"] = table["sparsity"]  # its m is that of the study
    table["sd"], table["n"] = by_event["balanced_accuracy"].std(), by_event.size()
    return table, event


def _nearest(sparsity: pd.Series, groups: Sequence[Group]) -> int:
    """The event after which the untrained network is as sparse as these models."""
    column = sparsity_column(groups)
    target = mean_sd([mean_sd(group.done[column])[0] for group in groups if column in group.done])[0]
    return int(sparsity.index[-1] if not np.isfinite(target) else (sparsity - target).abs().idxmin())
