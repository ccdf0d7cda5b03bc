"""Choose the setting of a strategy on validation error alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from dash_hpc.errors import UsageError
from dash_hpc.evaluation.settings import FOLD, completed, levels, setting_columns, setting_name
from dash_hpc.pruning.schedule import LatticeSchedule
from dash_hpc.study import STRATEGIES

__all__ = ["ERRORS", "Selection", "deciding_error", "kept_epochs", "select_setting"]

Rule = Literal["one_se", "best"]

# Of the columns, only these, those of the setting and the schedule are read: nothing that was computed from the
# reference network is among them.
_NEEDED = ("strategy", "status", "validation_mse", "sparsity")
ALL_FOLDS = "all"
#: The errors that settings may be chosen by, and what they are called.
ERRORS = {"validation_mse": "validation MSE", "validation_rows": "validation error of rows"}
# Events remove whole weights, so that one event apart is one give or take a rounding: this much is a whole one.
_WHOLE_EVENT = 0.95
# Means that differ by less than this share of them differ by the rounding of their sums.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Selection:
    """The chosen setting of a strategy, why, and what else there was.

    Attributes
    ----------
    strategy : str
    setting : mapping
        Column of the table of runs -> chosen value (see :mod:`dash_hpc.evaluation.settings`); {} where nothing varies.
    rule : str
        The rule that was applied: ``"one_se"`` or ``"best"``; differs from ``asked`` where a standard error
        could not be had.
    asked : str
    reason : str
        One sentence for the reader.
    run_id : str
        Of the chosen setting's runs the one with the lowest validation error.
    candidates : pandas.DataFrame
        One row per setting: the columns of the setting, validation_mse (the error that ``error`` names), se (standard
        error over seeds, or over folds where there are folds; NaN with one), sparsity, n_runs, n_failed, eligible,
        sparsest (of the eligible ones, those within one pruning event of the sparsest), chosen; sorted by
        validation_mse. With folds also n_folds; settings that lack some stand last.
    error : str
        Column of the table of runs that decided: one of ``ERRORS``.
    """

    strategy: str
    setting: Mapping[str, Any]
    rule: str
    asked: str
    reason: str
    run_id: str
    candidates: pd.DataFrame
    error: str = "validation_mse"

    def runs_of(self, runs: pd.DataFrame) -> pd.DataFrame:
        """Return of the table that was chosen from the finished runs of the chosen setting."""
        runs = completed(runs)
        return runs[(runs["strategy"] == self.strategy) & (runs["status"] == "done") & _same(runs, self.setting)]


def deciding_error(runs: pd.DataFrame) -> str:
    """Return the column that runs are chosen by: "validation_rows" where some go by it and all that are done have it.

    Else "validation_mse": errors of two kinds do not compare.
    """
    runs = completed(runs)
    if "validation_rows" not in runs or "training.criterion" not in runs:
        return "validation_mse"
    finite = np.isfinite(pd.to_numeric(runs.loc[runs["status"] == "done", "validation_rows"], errors="coerce"))
    asked = (runs["training.criterion"] == "rows").any()
    return "validation_rows" if asked and len(finite) and finite.all() else "validation_mse"


def select_setting(runs: pd.DataFrame, rule: Rule = "one_se", *, strategy: str = "dash") -> Selection:
    """Select from finished runs, by validation error, the values of all that varies among a strategy's runs.

    The error is the validation MSE, or that of rows (:func:`deciding_error`). Columns computed from a reference network
    are never read.

    Parameters
    ----------
    runs : pandas.DataFrame
        Index run_id; columns strategy, status, validation_mse, sparsity, the strategy's options, and the rest of the
        specs as ``section.key``: all of one data level, see :func:`dash_hpc.evaluation.levels`. A candidate is one
        setting of everything in which runs of the strategy differ but the seed and the fold
        (``data.validation.fold``). Where there are folds, a setting's error is the mean over folds of the mean over
        seeds, its standard error that of the folds, and settings that lack a fold which others have are not compared.
        ``schedule.every``, ``schedule.fraction``, ``schedule.first_fraction`` say what one pruning event is; left out,
        the defaults of a study.
    rule : {"one_se", "best"}
        ``"best"``: the lowest mean validation MSE over seeds. ``"one_se"``: among the settings whose mean is within
        one standard error of that, the sparsest. Less than one pruning event (the share of the active weights that an
        event removes) between two of them is no difference; of those as sparse as the sparsest the one with the lowest
        validation MSE is taken. Equal errors: the sparser one, then the smaller options. With one seed the standard
        error is undefined; ``"best"`` is applied and the reason says so.
    strategy : str
        Whose runs to compare.

    Returns
    -------
    Selection

    Raises
    ------
    UsageError
        Unknown rule, missing column, runs of several data levels, no finished run of that strategy, or only fits on all
        training data.
    """
    if rule not in ("one_se", "best"):
        raise UsageError(f"selection rule {rule!r} is not one of one_se, best")
    absent = [name for name in _NEEDED if name not in runs.columns]
    if absent:
        raise UsageError(f"the table of runs has no column {absent[0]!r}; select_setting needs {', '.join(_NEEDED)}")
    mine = completed(runs[runs["strategy"] == strategy])
    if len(parts := levels(mine)) > 1:
        raise UsageError(
            f"the runs of {strategy} have {len(parts)} data levels, such as {parts[0].name}, and errors of two levels "
            "do not compare: select within each (dash_hpc.evaluation.levels divides them)"
        )
    keys = setting_columns(mine, strategy)
    error = deciding_error(mine)
    mine = mine.assign(validation_mse=mine[error])
    # Drop everything else first: the choice cannot depend on what is not here.
    folds = [FOLD] if FOLD in mine and mine[FOLD].astype(str).str.fullmatch(r"\d+(\.0)?|all").any() else []
    table = mine[[*_NEEDED, *folds, *keys]]
    if folds and (table[FOLD].astype(str) == ALL_FOLDS).any():
        raise UsageError(
            f"runs of {strategy} were trained on all trajectories, so that their validation error is that of training: "
            "nothing can be chosen by it"
        )
    finite = np.isfinite(pd.to_numeric(table["validation_mse"], errors="coerce"))
    finished = table[(table["status"] == "done") & finite]
    if finished.empty:
        raise UsageError(
            f"no finished {strategy} run with a validation MSE among {len(runs)} runs: a setting cannot be chosen yet"
        )
    event = _event_share(mine, strategy)
    candidates = _candidates(finished, table[table["status"] == "failed"], keys)
    # A fold that is missing may have been the hardest one.
    compared = candidates["n_folds"] == candidates["n_folds"].max() if folds else pd.Series(True, candidates.index)
    best = candidates.iloc[0]
    applied: str = "best" if not np.isfinite(best["se"]) else rule
    if applied == "one_se":
        limit = float(best["validation_mse"] + best["se"])
        candidates["eligible"] = compared & (candidates["validation_mse"] <= limit * (1 + _ROUNDING))
    else:
        limit = float(best["validation_mse"])
        candidates["eligible"] = candidates.index == 0
    candidates["sparsest"] = candidates["eligible"] & _as_sparse(candidates, event)
    near = candidates[candidates["sparsest"]]
    lowest = near[near["validation_mse"] <= near["validation_mse"].min() * (1 + _ROUNDING)]
    chosen = lowest["sparsity"].idxmax() if lowest["sparsity"].notna().any() else lowest.index[0]
    candidates["chosen"] = candidates.index == chosen
    row = candidates.loc[chosen]
    setting = {key: row[key] for key in keys}
    return Selection(
        strategy=strategy,
        setting=setting,
        rule=applied,
        asked=rule,
        reason=_reason(candidates, setting_name(setting) or strategy, best, rule, applied, limit, event, ERRORS[error]),
        run_id=str(finished[_same(finished, setting)]["validation_mse"].astype(float).idxmin()),
        candidates=candidates,
        error=error,
    )


def kept_epochs(runs: pd.DataFrame) -> int:
    """Return the epoch that runs of one setting have kept: the mean over folds of the mean over seeds, rounded."""
    return max(1, round(_mean_se(_units(runs, "epoch"))[0]))


def _candidates(finished: pd.DataFrame, failed: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """One row per setting, by mean validation MSE; settings of equal errors in the order of their options."""
    counts = {_key(values): len(part) for values, part in _parts(failed, keys)}
    rows = []
    for values, part in _parts(finished, keys):
        mean, se = _mean_se(_units(part))
        row: dict[str, Any] = {
            **dict(zip(keys, values, strict=True)),
            "validation_mse": mean,
            "se": se,
            "sparsity": _mean_se(part["sparsity"])[0],
            "n_runs": len(part),
            "n_failed": counts.get(_key(values), 0),
        }
        rows.append(row | ({"n_folds": part[FOLD].nunique()} if FOLD in part else {}))
    table = pd.DataFrame(rows)
    if FOLD not in finished:
        return table.sort_values("validation_mse", kind="stable", ignore_index=True)
    return table.sort_values(["n_folds", "validation_mse"], ascending=[False, True], kind="stable", ignore_index=True)


def _units(runs: pd.DataFrame, column: str = "validation_mse") -> pd.Series:
    """The values that are averaged: of runs, or of folds, each the mean of its runs."""
    if FOLD not in runs:
        return runs[column]
    return pd.Series([_mean_se(part[column])[0] for _, part in runs.groupby(FOLD, sort=True)])


def _parts(runs: pd.DataFrame, keys: list[str]) -> list[tuple[tuple[Any, ...], pd.DataFrame]]:
    if not keys:
        return [((), runs)] if len(runs) else []
    return list(runs.groupby(keys, sort=True, dropna=False))


def _key(values: tuple[Any, ...]) -> str:
    return repr(values)


def _mean_se(values: pd.Series) -> tuple[float, float]:
    """Mean and standard error (s.d. with n − 1, divided by √n), the same bits in whatever order the runs stand."""
    numbers = [float(value) for value in pd.to_numeric(values, errors="coerce") if np.isfinite(value)]
    n = len(numbers)
    mean = math.fsum(numbers) / n if n else math.nan
    se = math.sqrt(math.fsum((x - mean) ** 2 for x in numbers) / (n - 1) / n) if n > 1 else math.nan
    return mean, se


def _same(table: pd.DataFrame, setting: Mapping[str, Any]) -> pd.Series:
    same = pd.Series(True, index=table.index)
    for key, value in setting.items():
        same &= table[key].isna() if value != value else table[key] == value
    return same


def _event_share(runs: pd.DataFrame, strategy: str) -> float:
    """The share of the active weights that one pruning event removes: of a later event, or of the only one.

    The smallest where schedules differ: fewer settings are then called alike. What prunes without the study's schedule
    goes by the default one.
    """
    rule = LatticeSchedule()
    options = STRATEGIES.get(strategy)
    if options is not None and options.prunes and not options.by_schedule:
        return rule.fraction
    keys = ("every", "fraction", "first_fraction")
    defaults = {key: getattr(rule, key) for key in keys}
    given = {key: pd.to_numeric(runs[f"schedule.{key}"]) for key in keys if f"schedule.{key}" in runs}
    table = pd.DataFrame({**defaults, **given}, index=runs.index).fillna(defaults)
    later = (table["every"] > 0) & (table["fraction"] > 0)
    return float(np.where(later, table["fraction"], table["first_fraction"]).min())


def _as_sparse(candidates: pd.DataFrame, event: float) -> pd.Series:
    """Whether less than one pruning event lies between a candidate and the sparsest eligible one."""
    active = 1.0 - candidates["sparsity"].astype(float)
    fewest = active[candidates["eligible"]].min()
    if not np.isfinite(fewest):
        return pd.Series(True, index=candidates.index)
    # One event leaves a candidate with (1 − event) of its active weights.
    # Where nothing is left, nothing is less than that: the sparsest itself always counts.
    return (active <= fewest) | (active * (1.0 - _WHOLE_EVENT * event) < fewest * (1 + _ROUNDING))


def _reason(
    candidates: pd.DataFrame,
    name: str,
    best: pd.Series,
    asked: str,
    applied: str,
    limit: float,
    event: float,
    error: str,
) -> str:
    n = len(candidates)
    if n == 1:
        return f"{name} is the only candidate with finished runs: there was nothing to choose between."
    over = f" over {int(best['n_folds'])} folds" if "n_folds" in candidates else ""
    lowest = f"the lowest mean {error}{over} ({best['validation_mse']:.3g}) of {n} candidates"
    if applied == "one_se":
        eligible, alike = int(candidates["eligible"].sum()), int(candidates["sparsest"].sum())
        se = f"{best['validation_mse']:.3g} ± {best['se']:.2g}, limit {limit:.3g}"
        if eligible == 1:
            return f"{name}: {lowest}, and no other is within one standard error of it ({se})."
        within = f"{eligible} candidates (of {n}) whose mean {error}{over} is within one standard error of the lowest"
        within += f" ({se})"
        if alike == 1:
            return f"{name}: the sparsest of the {within}."
        return (
            f"{name}: of the {within}, {alike} are as sparse as the sparsest to less than one pruning event "
            f"({100 * event:g} % of the active weights), and of these it has the lowest error."
        )
    if asked == "one_se":
        what = "fold" if "n_folds" in candidates else "run"
        return (
            f"{name}: {lowest}. The one-standard-error rule was asked for, but the best candidate has one "
            f"finished {what}, so its standard error is unknown."
        )
    return f"{name}: {lowest}."
