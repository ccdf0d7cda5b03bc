"""Everything that a report is made of, read once from a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from dash_hpc.errors import DashHpcError, StudyError
from dash_hpc.evaluation import Selection, bioprune_curve, evaluation_notes, select_lambda, varying_options
from dash_hpc.store import Mixture, option_column

__all__ = ["Group", "Material", "collect", "mean_sd", "sparsity_column"]

# Draws of the untrained control: few for its course over all events, enough for a spread where it is compared.
_COURSE_DRAWS, _SPREAD_DRAWS = 3, 20
# Table and report of one study are made one after the other: the second need not read everything again.
_RECENT: WeakKeyDictionary[Any, tuple[Any, Material]] = WeakKeyDictionary()
_MOST_GENES = 5000  # of a network that is shown without its data
_BIOPRUNE_GENES = 2500  # above this the untrained control takes minutes: it is left out, and the report says so


@dataclass(frozen=True)
class Group:
    """The runs that differ in their seed alone.

    ``variant`` is the strategy with the options that vary besides λ (``"imp, rewind init"``); ``label`` adds
    λ.
    """

    strategy: str
    variant: str
    label: str
    lambda_ppi: float
    lambda_motif: float
    runs: pd.DataFrame
    chosen: bool = False

    @property
    def done(self) -> pd.DataFrame:
        """The finished runs."""
        return self.runs[self.runs["status"] == "done"]

    def count(self, status: str) -> int:
        """Number of runs in that state."""
        return int((self.runs["status"] == status).sum())


@dataclass(frozen=True)
class Material:
    """One study, ready to be tabulated, drawn and told.

    Attributes
    ----------
    store : Store
    runs : pandas.DataFrame
        All runs of the plan that have started.
    spec : dict
        Spec of one run: data, model, solver, training and schedule are the study's own.
    groups : tuple of Group
        In the order of the plan; candidates of one strategy sorted by λ.
    selection : Selection or None
    no_selection : str
        Why λ was not chosen; empty when it was.
    dataset : DataSet or None
    data_problem : str
        Why the data could not be read again; empty when they could.
    controls : dict of float
        Controls stored with the runs, mean over runs.
    bioprune : pandas.DataFrame or None
        Training-free control: mean over draws by event, columns sparsity, study_sparsity, active_weights,
        balanced_accuracy, balanced_accuracy_reference_tfs, tpr, tnr, n (draws), sd (of balanced_accuracy).
    bioprune_event : int or None
        The event whose sparsity is nearest to that of the chosen setting (else of all): there are the most draws.
    notes : tuple of str
        What cannot be said, a sentence each.
    unshown : str
        Why no network is shown, and nothing that is made of one; empty when they are.
    data_notes : tuple of str
        Facts about the data that belong beside every result.
    mixtures : tuple of Mixture
        In what the done runs differ besides their specs.
    """

    store: Any
    runs: pd.DataFrame
    spec: dict[str, Any]
    groups: tuple[Group, ...]
    selection: Selection | None
    no_selection: str
    dataset: Any
    data_problem: str
    controls: dict[str, float] = field(default_factory=dict)
    bioprune: pd.DataFrame | None = None
    bioprune_event: int | None = None
    notes: tuple[str, ...] = ()
    data_notes: tuple[str, ...] = ()
    mixtures: tuple[Mixture, ...] = ()
    unshown: str = ""

    @property
    def base_weights(self) -> int | None:
        """4·m·G with the m of the study: what sparsities are shares of, whatever m a strategy has; None if unknown."""
        hidden = self.spec.get("model", {}).get("hidden")
        genes = None if self.dataset is None else self.dataset.n_genes
        if hidden and genes is None and "study_sparsity" in self.runs:
            known = self.runs[["active_weights", "study_sparsity"]].dropna()
            known = known[known["study_sparsity"] < 1]
            if len(known):
                return round(float(known["active_weights"].iloc[0]) / (1 - float(known["study_sparsity"].iloc[0])))
        return 4 * int(hidden) * int(genes) if hidden and genes else None

    @property
    def chosen(self) -> Group | None:
        """The group of the chosen λ."""
        return next((group for group in self.groups if group.chosen), None)

    @property
    def main_run(self) -> str | None:
        """The run whose network is shown: the chosen one, else the finished run with the lowest validation MSE."""
        if self.unshown:
            return None
        return self.selection.run_id if self.selection is not None else self.best_run(self.groups)

    def best_run(self, groups: Any) -> str | None:
        """Of these groups' finished runs the one with the lowest validation MSE; None when there is none."""
        frames = [group.done for group in groups if not group.done.empty]
        if not frames or self.unshown:
            return None
        error = pd.concat(frames).get("validation_mse", pd.Series(dtype=float)).dropna()
        return None if error.empty else str(error.astype(float).idxmin())

    @property
    def has_truth(self) -> bool:
        """Whether runs were compared with a reference network."""
        return "balanced_accuracy" in self.runs and bool(self.runs["balanced_accuracy"].notna().any())

    def shown_groups(self) -> list[Group]:
        """One group per variant, for figures that have no room for a grid: the chosen λ, else the lowest error."""
        shown = []
        for variant in dict.fromkeys(group.variant for group in self.groups):
            members = [group for group in self.groups if group.variant == variant and not group.done.empty]
            if not members:
                continue
            chosen = [group for group in members if group.chosen]
            shown.append(chosen[0] if chosen else min(members, key=_validation))
        return shown


def sparsity_column(groups: Sequence[Group]) -> str:
    """The sparsity that models are compared by: on the study's base, or on their own in records without it."""
    return "study_sparsity" if any("study_sparsity" in group.done for group in groups) else "sparsity"


def mean_sd(values: Any) -> tuple[float, float, int]:
    """Return mean, standard deviation (n − 1; NaN for one value) and number of the finite values."""
    array = np.asarray(pd.to_numeric(pd.Series(list(values)), errors="coerce"), dtype=float)
    array = array[np.isfinite(array)]
    if array.size == 0:
        return float("nan"), float("nan"), 0
    return float(array.mean()), float(array.std(ddof=1)) if array.size > 1 else float("nan"), int(array.size)


def collect(store: Any, *, rule: str = "one_se", data: bool = True) -> Material:
    """Read a store: group its runs, choose λ, rebuild the data, and compute the controls that need no model.

    Parameters
    ----------
    store : Store
        As returned by ``open_store``.
    rule : {"one_se", "best"}
        For the choice of λ.
    data : bool
        Whether to build the data set again (for trajectories, gene names and the training-free control).

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
    selection, no_selection = _select(runs, rule)
    groups = _groups(runs, selection)
    spec = _any_spec(store, runs, selection)
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
    bioprune, event = None, None
    if dataset is not None and dataset.truth is not None and dataset.prior is not None:
        if dataset.truth.shape[0] <= _BIOPRUNE_GENES:
            bioprune, event = _untrained(dataset, spec, groups)
        else:
            notes.append(
                f"The training-free BioPrune control was not computed: {dataset.truth.shape[0]:,} genes are more than "
                f"the {_BIOPRUNE_GENES:,} up to which a report does this."
            )
    controls = {name: value for name, value in controls.items() if np.isfinite(value)}
    data_notes = tuple(dataset.notes) if dataset is not None else ()
    material = Material(
        store,
        runs,
        spec,
        groups,
        selection,
        no_selection,
        dataset,
        problem,
        controls,
        bioprune,
        event,
        tuple(notes),
        data_notes,
        tuple(store.mixtures()),
    )
    if unshown := _unshown(material):
        material = replace(material, unshown=unshown, notes=(*material.notes, unshown))
    _RECENT[store] = (state, material)
    return material


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


def _select(runs: pd.DataFrame, rule: str) -> tuple[Selection | None, str]:
    if runs.empty or not (runs["strategy"] == "dash").any():
        return None, "The study has no DASH run, so there was no λ to choose."
    try:
        return select_lambda(runs, rule), ""  # type: ignore[arg-type]
    except DashHpcError as error:
        if rule not in ("one_se", "best"):
            raise
        return None, f"{str(error)[:1].upper()}{str(error)[1:]}."


def _groups(runs: pd.DataFrame, selection: Selection | None) -> tuple[Group, ...]:
    groups: list[Group] = []
    for strategy in dict.fromkeys(runs["strategy"]) if not runs.empty else ():
        mine = runs[runs["strategy"] == strategy]
        has_lambda = not mine[["lambda_ppi", "lambda_motif"]].isna().all(axis=None)
        lambdas = ["lambda_ppi", "lambda_motif"] if has_lambda else []
        others = varying_options(mine, str(strategy))
        keys = [*others, *lambdas]
        parts = mine.groupby([*map(option_column, keys)], sort=True, dropna=False) if keys else [((), mine)]
        for values, members in parts:
            by_name: Mapping[str, Any] = dict(zip(keys, values, strict=True))
            variant = ", ".join([str(strategy), *(f"{n} {by_name[n]}" for n in others)])
            ppi, motif = (float(by_name[n]) if n in by_name else float("nan") for n in ("lambda_ppi", "lambda_motif"))
            label = f"{variant} ({ppi:g}, {motif:g})" if lambdas else variant
            chosen = (
                selection is not None
                and strategy == "dash"
                and selection.run_id in members.index
                and (ppi, motif) == (selection.lambda_ppi, selection.lambda_motif)
            )
            groups.append(Group(str(strategy), variant, label, ppi, motif, members, chosen))
    return tuple(groups)


def _validation(group: Group) -> float:
    value = mean_sd(group.done.get("validation_mse", []))[0]
    return value if np.isfinite(value) else float("inf")


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
    schedule = spec["schedule"]
    every, last = int(schedule["every"]), int(spec["training"]["epochs"])
    later = sum(1 for epoch in range(every, last, every) if epoch > schedule["first_epoch"]) if every else 0

    def curve(draws: range, events: int, only: Sequence[int] | None = None) -> pd.DataFrame:
        hidden = int(spec["model"]["hidden"])
        options: dict[str, Any] = {"hidden": hidden, "schedule": schedule, "seeds": draws, "events": events}
        return bioprune_curve(dataset.prior, dataset.truth, only=only, **options)

    try:
        course = curve(range(_COURSE_DRAWS), 1 + later)
        event = _nearest(course.groupby("event")["sparsity"].mean(), groups)
        # Comparing takes most of the time, and the spread is read at one event alone.
        more = curve(range(_COURSE_DRAWS, _SPREAD_DRAWS), event + 1, (event,))
    except DashHpcError:
        return None, None  # a prior that cannot be scored: the control is then absent from table and figure
    by_event = pd.concat([course, more]).groupby("event")
    table = by_event.mean().drop(columns="seed")
    table["study_sparsity"] = table["sparsity"]  # its m is that of the study
    table["sd"], table["n"] = by_event["balanced_accuracy"].std(), by_event.size()
    return table, event


def _nearest(sparsity: pd.Series, groups: Sequence[Group]) -> int:
    """The event after which the untrained network is as sparse as the chosen setting, else as all models."""
    groups = [group for group in groups if group.chosen] or groups
    column = sparsity_column(groups)
    target = mean_sd([mean_sd(group.done[column])[0] for group in groups if column in group.done])[0]
    return int(sparsity.index[-1] if not np.isfinite(target) else (sparsity - target).abs().idxmin())
