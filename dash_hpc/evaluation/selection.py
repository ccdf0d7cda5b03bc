"""Choose the setting of a strategy, for DASH λ = (λ₁, λ₂), on validation error alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from dash_hpc.errors import UsageError
from dash_hpc.pruning.schedule import LatticeSchedule
from dash_hpc.store import option_column
from dash_hpc.study import STRATEGIES

__all__ = ["Selection", "select_lambda", "setting_name", "varying_options"]

Rule = Literal["one_se", "best"]

# Of the columns, only these, the strategy's own options and the schedule are read: nothing that was computed from the
# reference network is among them.
_NEEDED = ("strategy", "status", "lambda_ppi", "lambda_motif", "validation_mse", "sparsity")
_LAMBDA = ("lambda_ppi", "lambda_motif")
# Events remove whole weights, so that one event apart is one give or take a rounding: this much is a whole one.
_WHOLE_EVENT = 0.95
# Means that differ by less than this share of them differ by the rounding of their sums.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Selection:
    """The chosen setting, why, and what else there was.

    Attributes
    ----------
    lambda_ppi, lambda_motif : float
        NaN for a strategy without them.
    rule : str
        The rule that was applied: ``"one_se"`` or ``"best"``; differs from ``asked`` where a standard error
        could not be had.
    asked : str
    reason : str
        One sentence for the reader.
    run_id : str
        Of the chosen setting's runs the one with the lowest validation MSE.
    candidates : pandas.DataFrame
        One row per setting: the strategy's options that vary (λ always, where it has them), validation_mse, se
        (standard error over seeds, NaN with one seed), sparsity, n_runs, n_failed, eligible, sparsest (of the eligible
        ones, those within one pruning event of the sparsest), chosen; sorted by validation_mse.
    options : mapping
        The chosen values of the options besides λ that vary.
    strategy : str
    """

    lambda_ppi: float
    lambda_motif: float
    rule: str
    asked: str
    reason: str
    run_id: str
    candidates: pd.DataFrame
    options: Mapping[str, Any] = field(default_factory=dict)
    strategy: str = "dash"


def select_lambda(runs: pd.DataFrame, rule: Rule = "one_se", *, strategy: str = "dash") -> Selection:
    """Select λ, and with it all other options that vary, from finished runs by validation MSE.

    Columns computed from a reference network are never read.

    Parameters
    ----------
    runs : pandas.DataFrame
        Index run_id; columns strategy, status, lambda_ppi, lambda_motif, validation_mse, sparsity, and the strategy's
        other options. A candidate is one setting of all options that differ between the runs of the strategy. Runs
        that differ in more than that and the seed (two data sets, say) must be separated by the caller.
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
        Unknown rule, missing column, no finished run of that strategy, or nothing that varies.
    """
    if rule not in ("one_se", "best"):
        raise UsageError(f"selection rule {rule!r} is not one of one_se, best")
    absent = [name for name in _NEEDED if name not in runs.columns]
    if absent:
        raise UsageError(f"the table of runs has no column {absent[0]!r}; select_lambda needs {', '.join(_NEEDED)}")
    mine = runs[runs["strategy"] == strategy]
    others = varying_options(mine, strategy)
    columns = {name: option_column(name) for name in others}
    # Drop everything else first: the choice cannot depend on what is not here.
    table = mine[[*_NEEDED, *columns.values()]]
    event = _event_share(mine)
    lambdas = [] if len(table) and table[list(_LAMBDA)].isna().all(axis=None) else list(_LAMBDA)
    keys = [*lambdas, *columns.values()]
    if not keys:
        raise UsageError(f"strategy {strategy} has no λ to choose, and no other option that varies")
    finite = np.isfinite(pd.to_numeric(table["validation_mse"], errors="coerce"))
    finished = table[(table["status"] == "done") & finite]
    if finished.empty:
        what = "λ" if lambdas else "a setting"
        raise UsageError(
            f"no finished {strategy} run with a validation MSE among {len(runs)} runs: {what} cannot be chosen yet"
        )
    candidates = _candidates(finished, table[table["status"] == "failed"], keys)
    best = candidates.iloc[0]
    applied: str = "best" if not np.isfinite(best["se"]) else rule
    if applied == "one_se":
        limit = float(best["validation_mse"] + best["se"])
        candidates["eligible"] = candidates["validation_mse"] <= limit * (1 + _ROUNDING)
    else:
        limit = float(best["validation_mse"])
        candidates["eligible"] = candidates["validation_mse"] <= limit * (1 + _ROUNDING)
        candidates["eligible"] &= candidates.index == 0
    candidates["sparsest"] = candidates["eligible"] & _as_sparse(candidates, event)
    near = candidates[candidates["sparsest"]]
    lowest = near[near["validation_mse"] <= near["validation_mse"].min() * (1 + _ROUNDING)]
    chosen = lowest["sparsity"].idxmax() if lowest["sparsity"].notna().any() else lowest.index[0]
    candidates["chosen"] = candidates.index == chosen
    row = candidates.loc[chosen]
    of_choice = finished[_same(finished, row, keys)]
    options = {name: row[column] for name, column in columns.items()}
    return Selection(
        lambda_ppi=float(row["lambda_ppi"]) if lambdas else float("nan"),
        lambda_motif=float(row["lambda_motif"]) if lambdas else float("nan"),
        rule=applied,
        asked=rule,
        reason=_reason(candidates, row, best, options, rule, applied, limit, event),
        run_id=str(of_choice["validation_mse"].astype(float).idxmin()),
        candidates=candidates,
        options=options,
        strategy=strategy,
    )


def varying_options(runs: pd.DataFrame, strategy: str) -> list[str]:
    """Return the options besides λ in which ``runs``, all of one strategy, differ, in the order of its declaration."""
    declared = list(STRATEGIES[strategy].model_fields) if strategy in STRATEGIES else []
    present = [name for name in declared if name not in _LAMBDA and option_column(name) in runs.columns]
    return [name for name in present if runs[option_column(name)].astype(str).nunique() > 1]


def setting_name(row: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Write a setting, ``λ = (0.05, 0.01), score_norm = rank``; λ is left out of a ``row`` without one."""
    ppi, motif = (float(row.get(name, math.nan)) for name in _LAMBDA)
    parts = [] if math.isnan(ppi) else [f"λ = ({ppi:g}, {motif:g})"]
    return ", ".join([*parts, *(f"{name} = {value}" for name, value in options.items())])


def _candidates(finished: pd.DataFrame, failed: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """One row per setting, by mean validation MSE; settings of equal errors in the order of their options."""
    counts = {_key(values): len(part) for values, part in failed.groupby(keys, dropna=False)}
    rows = []
    for values, part in finished.groupby(keys, sort=True, dropna=False):
        mean, se = _mean_se(part["validation_mse"])
        own = values if isinstance(values, tuple) else (values,)
        rows.append(
            {
                **dict(zip(keys, own, strict=True)),
                "validation_mse": mean,
                "se": se,
                "sparsity": _mean_se(part["sparsity"])[0],
                "n_runs": len(part),
                "n_failed": counts.get(_key(values), 0),
            }
        )
    return pd.DataFrame(rows).sort_values("validation_mse", kind="stable", ignore_index=True)


def _key(values: Any) -> str:
    return repr(values if isinstance(values, tuple) else (values,))


def _mean_se(values: pd.Series) -> tuple[float, float]:
    """Mean and standard error (s.d. with n − 1, divided by √n), the same bits in whatever order the runs stand."""
    numbers = [float(value) for value in pd.to_numeric(values, errors="coerce") if np.isfinite(value)]
    n = len(numbers)
    mean = math.fsum(numbers) / n if n else math.nan
    se = math.sqrt(math.fsum((x - mean) ** 2 for x in numbers) / (n - 1) / n) if n > 1 else math.nan
    return mean, se


def _same(table: pd.DataFrame, row: pd.Series, keys: list[str]) -> pd.Series:
    same = pd.Series(True, index=table.index)
    for key in keys:
        same &= table[key].isna() if row[key] != row[key] else table[key] == row[key]
    return same


def _event_share(runs: pd.DataFrame) -> float:
    """The share of the active weights that one pruning event removes: of a later event, or of the only one."""
    rule = LatticeSchedule()

    def of(key: str) -> float:
        column = runs.get(f"schedule.{key}", pd.Series(dtype=float)).dropna()
        return float(column.iloc[0]) if len(column) else float(getattr(rule, key))

    return of("fraction") if of("every") and of("fraction") else of("first_fraction")


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
    row: pd.Series,
    best: pd.Series,
    options: Mapping[str, Any],
    asked: str,
    applied: str,
    limit: float,
    event: float,
) -> str:
    name = setting_name(row, options)
    n = len(candidates)
    if n == 1:
        return f"{name} is the only candidate with finished runs: there was nothing to choose between."
    lowest = f"the lowest mean validation MSE ({best['validation_mse']:.3g}) of {n} candidates"
    if applied == "one_se":
        eligible, alike = int(candidates["eligible"].sum()), int(candidates["sparsest"].sum())
        se = f"{best['validation_mse']:.3g} ± {best['se']:.2g}, limit {limit:.3g}"
        if eligible == 1:
            return f"{name}: {lowest}, and no other is within one standard error of it ({se})."
        within = f"{eligible} candidates (of {n}) whose mean validation MSE is within one standard error of the lowest"
        within += f" ({se})"
        if alike == 1:
            return f"{name}: the sparsest of the {within}."
        return (
            f"{name}: of the {within}, {alike} are as sparse as the sparsest to less than one pruning event "
            f"({100 * event:g} % of the active weights), and of these it has the lowest error."
        )
    if asked == "one_se":
        return (
            f"{name}: {lowest}. The one-standard-error rule was asked for, but the best candidate has one "
            "finished run, so its standard error is unknown."
        )
    return f"{name}: {lowest}."
