"""The comparison of strategies: one row each, of the chosen setting, as the paper's tables have it, with ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from dash_hpc.evaluation import Ranks, plateau_epoch, ranks
from dash_hpc.report.material import Group, Material, mean_sd, sparsity_column
from dash_hpc.report.published import PublishedRow, published_of, published_rows

__all__ = ["FEWEST", "MEASURES", "ComparedRow", "Comparison", "compared_cells", "comparison", "winner"]

#: Strategies from which on there is something to compare.
FEWEST = 3
#: Column -> (heading, how it is written, whether more is better; None: neither).
MEASURES: dict[str, tuple[str, str, bool | None]] = {
    "sparsity": ("sparsity", "percent", None),
    "balanced_accuracy": ("BA", "share", True),
    "precision": ("prec.", "share", True),
    "auc": ("AUC", "share", True),
    "out_degree": ("out-degree", "count", None),
    "test_mse": ("test MSE", "error", False),
    "validation_mse": ("valid. MSE", "error", False),
    "plateau": ("epochs to plateau", "count", None),
    "seconds_total": ("wall time", "seconds", None),
}
_RANKED = ("balanced_accuracy", "test_mse", "validation_mse")


@dataclass(frozen=True)
class ComparedRow:
    """A strategy: its group, per measure (mean, s.d., n) over seeds, and what was published of it."""

    group: Group
    values: dict[str, tuple[float, float, int]]
    published: PublishedRow | None = None

    @property
    def strategy(self) -> str:
        return self.group.strategy


@dataclass(frozen=True)
class Comparison:
    """Strategies, best first: by balanced accuracy where a reference is known, else by error.

    ``measures`` are the columns that have a value, ``by`` the measure that orders, ``ranks`` of the measures that are
    ranked, in the order of ``rows``; ``seeds`` is the number of seeds that ranks are resampled over.
    """

    rows: tuple[ComparedRow, ...]
    measures: tuple[str, ...]
    by: str
    seeds: int
    ranks: dict[str, Ranks] = field(default_factory=dict)


def comparison(material: Material) -> Comparison | None:
    """Compare the shown setting of every strategy; None where there are fewer than :data:`FEWEST` strategies."""
    groups = [group for group in material.shown_groups() if not group.done.empty]
    if len(groups) < FEWEST:
        return None
    known = published_rows(material.spec)
    tables = [_table(material, group) for group in groups]
    rows = [
        ComparedRow(group, {name: mean_sd(table[name]) for name in table}, published_of(group.strategy, known))
        for group, table in zip(groups, tables, strict=True)
    ]
    measures = [name for name in MEASURES if any(row.values.get(name, (0, 0, 0))[2] for row in rows)]
    if "test_mse" in measures:
        measures.remove("validation_mse")
    by = next((name for name in _RANKED if name in measures), "sparsity")
    better = MEASURES[by][2] is not False
    order = sorted(range(len(rows)), key=lambda k: _key(rows[k].values.get(by), better))
    rows, tables = [rows[k] for k in order], [tables[k] for k in order]
    units = list(dict.fromkeys(unit for table in tables for unit in table.index))
    found = {
        name: ranks(_matrix(tables, name, units), larger_is_better=MEASURES[name][2] is not False)
        for name in _RANKED
        if name in measures
    }
    return Comparison(tuple(rows), tuple(measures), by, len(units), found)


def _key(value: tuple[float, float, int] | None, larger_is_better: bool) -> float:
    if value is None or not math.isfinite(value[0]):
        return math.inf
    return -value[0] if larger_is_better else value[0]


def _table(material: Material, group: Group) -> pd.DataFrame:
    """The measures of a group's finished runs, by seed (mean over folds)."""
    done = group.done
    columns = {
        name: pd.to_numeric(done[source], errors="coerce")
        for name in MEASURES
        if (source := sparsity_column([group]) if name == "sparsity" else name) in done
    }
    columns["plateau"] = pd.Series({run_id: _plateau(material, str(run_id)) for run_id in done.index}, dtype=float)
    return pd.DataFrame(columns).groupby(done["seed"].to_numpy()).mean()


def _plateau(material: Material, run_id: str) -> float:
    history = material.store.record(run_id, network=False).history
    error = history.get("validation_rows", history.get("validation_mse"))
    return math.nan if error is None or not len(error) else plateau_epoch(history["epoch"], error)


def _matrix(tables: Sequence[pd.DataFrame], name: str, units: Sequence[Any]) -> np.ndarray:
    rows = [table[name].reindex(units) if name in table else pd.Series(np.nan, index=units) for table in tables]
    return np.array([row.to_numpy(dtype=float) for row in rows])


def winner(material: Material, found: Comparison, controls: Sequence[dict[str, Any]]) -> str:
    """Say in two sentences who is first, how surely, by how much, and which controls stand above."""
    if found.by not in found.ranks or len(found.rows) < 2:
        return ""
    first, second = found.rows[0], found.rows[1]
    order = found.ranks[found.by]
    (one, _, n), (two, _, _) = first.values[found.by], second.values[found.by]
    if not (math.isfinite(one) and math.isfinite(two)):
        return ""
    share = 100 * float(order.first[0])
    sure = f"; it leads in {share:.0f} % of resamplings of {found.seeds} seeds" if found.seeds > 1 else ""
    if found.by != "balanced_accuracy":
        name = "test" if found.by == "test_mse" else "validation"
        return (
            f"Of {len(found.rows)} strategies {first.strategy} has the lowest {name} error, {one:.3g} (n = {n}), "
            f"before {second.strategy} with {two:.3g}{sure}."
        )
    above = sorted(
        (row for row in controls if row.get("balanced_accuracy", 0.0) >= one), key=lambda row: -row["balanced_accuracy"]
    )
    listed = ", ".join(f"{row['label']} ({row['balanced_accuracy']:.3f})" for row in above)
    beaten = (
        f"Without any training as high or higher: {listed}." if above else "No control without training is as high."
    )
    return (
        f"Of {len(found.rows)} strategies {first.strategy} has the highest balanced accuracy, {one:.3f} (n = {n}), "
        f"{one - two:.3f} above {second.strategy}{sure}. {beaten}"
    )


def compared_cells(found: Comparison) -> dict[str, Any]:
    """Write a comparison as a table: ``columns`` (heading, unit), ``rows`` of (told, small below), ``published``.

    Ranks stand as place and, below, the places between which nine of ten resamplings of the seeds lie.
    """
    powers = {name: _power(found, name) for name in found.measures if MEASURES[name][1] == "error"}
    published = any(row.published for row in found.rows)
    columns = [("strategy", ""), ("runs", "")]
    columns += [(f"rank by {MEASURES[name][0]}", "of resamplings") for name in found.ranks]
    columns += [(MEASURES[name][0], _unit(name, powers)) for name in found.measures]
    if published:
        columns += [("published sparsity", "%"), ("published BA", ""), ("published MSE", "")]
    rows = []
    for place, row in enumerate(found.rows):
        setting = row.group.label.removeprefix(row.strategy).strip(", ")
        cells = [(row.strategy, setting), (str(len(row.group.done)), "")]
        for one in found.ranks.values():
            rank, low, high = one.rank[place], one.low[place], one.high[place]
            cells.append((f"{rank:g}", f"{low:g} to {high:g}") if math.isfinite(rank) else ("–", ""))
        cells += [_cell(row.values.get(name), name, powers.get(name, 0)) for name in found.measures]
        if published:
            cells += _published_cells(row.published)
        rows.append(cells)
    return {"columns": columns, "rows": rows, "published": published}


def _power(found: Comparison, name: str) -> int:
    means = [row.values[name][0] for row in found.rows if row.values.get(name, (0.0, 0.0, 0))[0] > 0]
    return math.floor(math.log10(min(means))) if means else 0


def _unit(name: str, powers: dict[str, int]) -> str:
    form = MEASURES[name][1]
    if form == "error" and powers[name]:
        return f"× 10{str(powers[name]).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
    return {"percent": "%", "seconds": "s"}.get(form, "")


def _cell(value: tuple[float, float, int] | None, name: str, power: int) -> tuple[str, str]:
    if value is None or not math.isfinite(value[0]):
        return "–", ""
    scale, digits = {"percent": (100.0, 1), "share": (1.0, 3), "error": (10.0**-power, 2)}.get(
        MEASURES[name][1], (1.0, 1 if value[0] < 100 else 0)
    )
    mean, sd = value[0] * scale, value[1] * scale
    return f"{mean:,.{digits}f}", f"± {sd:,.{digits}f}" if math.isfinite(sd) else ""


def _published_cells(row: PublishedRow | None) -> list[tuple[str, str]]:
    if row is None:
        return [("–", ""), ("–", ""), ("–", "")]
    sparsity, accuracy, error = row.texts
    spread = "" if row.sparsity_sd is None else f"± {100 * row.sparsity_sd:g}"
    return [(sparsity.removesuffix(" %"), spread), (accuracy, row.tag if accuracy != "–" else ""), (error, "")]
