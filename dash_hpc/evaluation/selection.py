"""Choose λ = (λ₁, λ₂) on validation error alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from dash_hpc.errors import UsageError

__all__ = ["Selection", "select_lambda"]

Rule = Literal["one_se", "best"]

# The only columns that this module reads. Nothing that was computed from the reference network is among them.
_NEEDED = ("strategy", "status", "lambda_ppi", "lambda_motif", "validation_mse", "sparsity")


@dataclass(frozen=True)
class Selection:
    """The chosen λ, why, and what else there was.

    Attributes
    ----------
    lambda_ppi, lambda_motif : float
    rule : str
        The rule that was applied: ``"one_se"`` or ``"best"``; differs from ``asked`` where a standard error
        could not be had.
    asked : str
    reason : str
        One sentence for the reader.
    run_id : str
        Of the chosen λ's runs the one with the lowest validation MSE.
    candidates : pandas.DataFrame
        One row per (lambda_ppi, lambda_motif): validation_mse, se (standard error over seeds, NaN with one
        seed), sparsity, n_runs, n_failed, eligible, chosen; sorted by validation_mse.
    """

    lambda_ppi: float
    lambda_motif: float
    rule: str
    asked: str
    reason: str
    run_id: str
    candidates: pd.DataFrame


def select_lambda(runs: pd.DataFrame, rule: Rule = "one_se", *, strategy: str = "dash") -> Selection:
    """Select λ from finished runs by validation MSE.

    Columns computed from a reference network are never read.

    Parameters
    ----------
    runs : pandas.DataFrame
        Index run_id; columns strategy, status, lambda_ppi, lambda_motif, validation_mse, sparsity. Runs that
        differ in more than λ and seed (two data sets, say) must be separated by the caller.
    rule : {"one_se", "best"}
        ``"best"``: the lowest mean validation MSE over seeds. ``"one_se"``: among the λ whose mean is within
        one standard error of that, the sparsest (equal sparsity: the lower MSE). With one seed the standard
        error is undefined; ``"best"`` is applied and the reason says so.
    strategy : str
        Whose runs to compare.

    Returns
    -------
    Selection

    Raises
    ------
    UsageError
        Unknown rule, missing column, or no finished run of that strategy.
    """
    if rule not in ("one_se", "best"):
        raise UsageError(f"selection rule {rule!r} is not one of one_se, best")
    absent = [name for name in _NEEDED if name not in runs.columns]
    if absent:
        raise UsageError(f"the table of runs has no column {absent[0]!r}; select_lambda needs {', '.join(_NEEDED)}")
    # Drop everything else first: the choice cannot depend on what is not here.
    table = runs.loc[runs["strategy"] == strategy, list(_NEEDED)]
    finite = np.isfinite(pd.to_numeric(table["validation_mse"], errors="coerce"))
    keys = ["lambda_ppi", "lambda_motif"]
    if len(table) and table[keys].isna().all(axis=None):
        raise UsageError(f"strategy {strategy} has no λ to choose; choose among runs of dash")
    finished = table[(table["status"] == "done") & finite]
    if finished.empty:
        raise UsageError(
            f"no finished {strategy} run with a validation MSE among {len(runs)} runs: λ cannot be chosen yet"
        )
    grouped = finished.groupby(keys, sort=True)
    candidates = grouped.agg(
        validation_mse=("validation_mse", "mean"),
        se=("validation_mse", "sem"),  # s.d. with n − 1, divided by √n
        sparsity=("sparsity", "mean"),
        n_runs=("validation_mse", "size"),
    ).reset_index()
    failed = table[table["status"] == "failed"].groupby(keys).size()
    index = pd.MultiIndex.from_frame(candidates[keys])
    candidates["n_failed"] = failed.reindex(index, fill_value=0).to_numpy(dtype=int)
    candidates = candidates.sort_values(["validation_mse", *keys], kind="stable", ignore_index=True)

    best = candidates.iloc[0]
    applied: str = rule
    if rule == "one_se" and not np.isfinite(best["se"]):
        applied = "best"
    if applied == "one_se":
        limit = best["validation_mse"] + best["se"]
        candidates["eligible"] = candidates["validation_mse"] <= limit
        eligible = candidates[candidates["eligible"]].sort_values(
            ["sparsity", "validation_mse", *keys], ascending=[False, True, True, True], kind="stable"
        )
        chosen = eligible.index[0]
    else:
        limit = float(best["validation_mse"])
        candidates["eligible"] = candidates.index == 0
        chosen = candidates.index[0]
    candidates["chosen"] = candidates.index == chosen
    row = candidates.loc[chosen]
    of_choice = finished[
        (finished["lambda_ppi"] == row["lambda_ppi"]) & (finished["lambda_motif"] == row["lambda_motif"])
    ]
    return Selection(
        lambda_ppi=float(row["lambda_ppi"]),
        lambda_motif=float(row["lambda_motif"]),
        rule=applied,
        asked=rule,
        reason=_reason(candidates, row, best, rule, applied, float(limit)),
        run_id=str(of_choice["validation_mse"].astype(float).idxmin()),
        candidates=candidates,
    )


def _reason(candidates: pd.DataFrame, row: pd.Series, best: pd.Series, asked: str, applied: str, limit: float) -> str:
    name = f"λ = ({row['lambda_ppi']:g}, {row['lambda_motif']:g})"
    n = len(candidates)
    if n == 1:
        return f"{name} is the only candidate with finished runs: there was nothing to choose between."
    lowest = f"the lowest mean validation MSE ({best['validation_mse']:.3g}) of {n} candidates"
    if applied == "one_se":
        return (
            f"{name}: the sparsest of the {int(candidates['eligible'].sum())} candidates (of {n}) whose mean "
            "validation MSE is within one standard error of the lowest "
            f"({best['validation_mse']:.3g} ± {best['se']:.2g}, limit {limit:.3g})."
        )
    if asked == "one_se":
        return (
            f"{name}: {lowest}. The one-standard-error rule was asked for, but the best candidate has one "
            "finished run, so its standard error is unknown."
        )
    return f"{name}: {lowest}."
