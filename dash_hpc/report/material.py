"""What a report is made of: groups of runs, the choice among them, data and controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from dash_hpc.evaluation import FOLD, Selection, deciding_error, setting_label, setting_name
from dash_hpc.models.registry import family_of_spec
from dash_hpc.store import Mixture

__all__ = ["COLUMNS", "Group", "Material", "best_group", "mean_sd", "sparsity_column"]

#: Metric, heading, how it is written.
COLUMNS = (
    ("active_weights", "weights", "count"),
    ("study_sparsity", "sparsity", "percent"),
    ("sparsity", "own m", "percent"),
    ("balanced_accuracy", "BA", "share"),
    ("precision", "prec.", "share"),
    ("balanced_accuracy_reference_tfs", "BA ref.", "share"),
    ("tpr", "TPR", "share"),
    ("tnr", "TNR", "share"),
    ("auc", "AUC", "share"),
    ("recovered_missing", "missing found", "share"),
    ("rejected_spurious", "spurious cut", "share"),
    ("test_mse", "test MSE", "error"),
    ("validation_mse", "valid. MSE", "error"),
    ("validation_rows", "valid. rows", "error"),
)

# Where a study has it, this strategy's chosen model is the one that is shown.
_LEADING = "dash"


@dataclass(frozen=True)
class Group:
    """The runs of a strategy that differ in their seed (and fold) alone; ``chosen`` is of the strategy's settings."""

    strategy: str
    setting: Mapping[str, Any]
    runs: pd.DataFrame
    chosen: bool = False

    @property
    def label(self) -> str:
        """Strategy and setting, as tables have it."""
        return setting_label(self.strategy, self.setting)

    @property
    def done(self) -> pd.DataFrame:
        """The finished runs."""
        return self.runs[self.runs["status"] == "done"]

    def count(self, status: str) -> int:
        """Number of runs in that state."""
        return int((self.runs["status"] == status).sum())


@dataclass(frozen=True)
class Material:
    """One study, or one data level of it, ready to be tabulated, drawn and told.

    Attributes
    ----------
    store : Store
    runs : pandas.DataFrame
        All runs of the plan that have started, of this level.
    level : mapping
        Key of ``[data]`` -> value, for the keys that vary in the study; {} where none does.
    spec : dict
        Spec of one run.
    groups : tuple of Group
        In the order of the plan; candidates of one strategy sorted by their settings.
    selections : dict of Selection
        By strategy, for those with something to choose.
    no_selection : dict of str
        By strategy: why nothing was chosen, although there is something.
    dataset : DataSet or None
    data_problem : str
        Why the data could not be read again; empty when they could.
    controls : dict of float
        Controls stored with the runs, mean over runs.
    bioprune : pandas.DataFrame or None
        Training-free control: mean over draws by event, columns sparsity, study_sparsity, active_weights,
        balanced_accuracy, balanced_accuracy_reference_tfs, tpr, tnr, precision, n (draws), sd (of balanced_accuracy).
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
    selections: Mapping[str, Selection]
    no_selection: Mapping[str, str]
    dataset: Any
    data_problem: str
    controls: dict[str, float] = field(default_factory=dict)
    bioprune: pd.DataFrame | None = None
    bioprune_event: int | None = None
    notes: tuple[str, ...] = ()
    data_notes: tuple[str, ...] = ()
    mixtures: tuple[Mixture, ...] = ()
    unshown: str = ""
    level: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The data level, as ``data.prior_noise = 0.05``; empty where the study has one."""
        return setting_name(self.level)

    @property
    def over(self) -> str:
        """What means are taken over."""
        folds = self.runs[FOLD].astype(str).nunique() if FOLD in self.runs else 1
        return "seeds and folds" if folds > 1 else "seeds"

    @property
    def leading(self) -> str | None:
        """The strategy whose model is shown: dash where it was chosen, else that of the lowest validation error."""
        if _LEADING in self.selections:
            return _LEADING
        best = self._lowest(self.groups)
        return None if best is None else str(self.runs.loc[best, "strategy"])

    @property
    def selection(self) -> Selection | None:
        """The choice within the leading strategy; None where it has nothing to choose."""
        leading = self.leading
        return None if leading is None else self.selections.get(leading)

    @property
    def base_weights(self) -> int | None:
        """Prunable weights of the study's model: what sparsities are shares of, whatever units a strategy has.

        None where that is unknown or the study has several m.
        """
        if "model.hidden" in self.runs and self.runs["model.hidden"].nunique() > 1:
            return None
        model = self.spec.get("model", {})
        hidden = model.get("hidden")
        genes = None if self.dataset is None else self.dataset.n_genes
        if hidden and genes is None and "study_sparsity" in self.runs:
            known = self.runs[["active_weights", "study_sparsity"]].dropna()
            known = known[known["study_sparsity"] < 1]
            if len(known):
                return round(float(known["active_weights"].iloc[0]) / (1 - float(known["study_sparsity"].iloc[0])))
        return family_of_spec(model).prunable_count(model, int(genes)) if hidden and genes else None

    @property
    def chosen(self) -> Group | None:
        """The group of the leading strategy's chosen setting."""
        return next((group for group in self.groups if group.chosen and group.strategy == self.leading), None)

    @property
    def main_run(self) -> str | None:
        """The run whose network is shown: the chosen one, else the finished run with the lowest validation error."""
        if self.unshown:
            return None
        return self.selection.run_id if self.selection is not None else self.best_run(self.groups)

    def best_run(self, groups: Sequence[Group]) -> str | None:
        """Of these groups' finished runs the one with the lowest validation error; None when there is none."""
        return None if self.unshown else self._lowest(groups)

    def _lowest(self, groups: Sequence[Group]) -> str | None:
        frames = [group.done for group in groups if not group.done.empty]
        if not frames:
            return None
        error = pd.concat(frames).get(deciding_error(self.runs), pd.Series(dtype=float)).dropna()
        return None if error.empty else str(error.astype(float).idxmin())

    @property
    def has_truth(self) -> bool:
        """Whether runs were compared with a reference network."""
        return "balanced_accuracy" in self.runs and bool(self.runs["balanced_accuracy"].notna().any())

    def shown_groups(self) -> list[Group]:
        """One group per strategy, for figures that have no room for more: the chosen one, else the lowest error."""
        shown = []
        for strategy in dict.fromkeys(group.strategy for group in self.groups):
            members = [group for group in self.groups if group.strategy == strategy and not group.done.empty]
            if members:
                shown.append(best_group(members))
        return shown


def best_group(groups: Sequence[Group]) -> Group:
    """Of one strategy's groups the chosen one where it is among them, else that of the lowest validation error."""
    return next((group for group in groups if group.chosen), None) or min(groups, key=_validation)


def _validation(group: Group) -> float:
    value = mean_sd(group.done.get("validation_mse", []))[0]
    return value if np.isfinite(value) else float("inf")


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
