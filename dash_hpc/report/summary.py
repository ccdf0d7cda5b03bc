"""The table that a study ends with: every candidate, and the controls below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from dash_hpc.evaluation import ERRORS, axis_label, axis_name
from dash_hpc.report.alerts import alerts
from dash_hpc.report.collect import collect_levels, first_level
from dash_hpc.report.controls import about_controls, control_rows
from dash_hpc.report.material import COLUMNS, Group, Material, mean_sd
from dash_hpc.shown import LABEL, LINE, rich_text, shown_block

__all__ = [
    "REFERENCE_TFS",
    "column_units",
    "format_metric",
    "group_row",
    "label_heading",
    "model_rows",
    "on_one_base",
    "row_cells",
    "shorten",
    "summary_rows",
    "summary_table",
    "used_columns",
]

#: What "BA ref." is.
REFERENCE_TFS = (
    "balanced accuracy (reference's regulators), over the pairs whose regulator has an edge in the reference network"
)
_SHOWN_CANDIDATES = 12
_SHOWN_LEVELS = 12
_LEVEL_CONTROLS = ("prior", "residual", "bioprune", "persistence")
# The terminal's table has to fit beside what else is on the screen; BA and TPR give the TNR.
_REPORT_ONLY = ("tnr", "recovered_missing", "rejected_spurious", "validation_rows")
_WITH_SPREAD = ("balanced_accuracy", "test_mse")


def summary_rows(store: Any) -> list[dict[str, Any]]:
    """Return the study's results as plain rows, models first, then controls.

    Parameters
    ----------
    store : Store
        As returned by ``open_store``.

    Returns
    -------
    list of dict
        ``kind`` ("model" or "control"), ``label``, ``strategy``, ``setting`` (column -> value),
        ``chosen``, ``n_runs`` (finished), ``n_failed``, and per metric its mean over seeds and
        ``<metric>_sd`` (n − 1; NaN for one seed). Metrics that were not measured are absent. ``level`` (key of
        ``[data]`` -> value) where the study has several data levels.
    """
    rows = []
    for material in collect_levels(store):
        own = [*model_rows(material), *control_rows(material)]
        rows += [{**row, "level": dict(material.level)} for row in own] if material.level else own
    return rows


def model_rows(material: Material) -> list[dict[str, Any]]:
    """One row per group of runs that differ in their seed alone."""
    return [group_row(group) for group in material.groups]


def group_row(group: Group) -> dict[str, Any]:
    """The row of one group: means over seeds and their s.d. (n − 1), where they were measured."""
    done = group.done
    row: dict[str, Any] = {
        "kind": "model",
        "label": group.label,
        "strategy": group.strategy,
        "setting": dict(group.setting),
        "chosen": group.chosen,
        "n_runs": len(done),
        "n_failed": group.count("failed"),
        "n_running": group.count("running"),
    }
    for name, _, _ in COLUMNS:
        mean, sd, n = mean_sd(done[name]) if name in done.columns else (math.nan, math.nan, 0)
        if n:
            row[name], row[f"{name}_sd"] = mean, sd
    return row


def summary_table(store: Any) -> Table:
    """Return the table that a study ends with, for a rich console: means over seeds, controls below a rule.

    Balanced accuracy and test MSE with their s.d.; the report has it for all columns, and more of them. Settings of a
    strategy beyond a dozen are cut to the chosen one and those with the lowest validation MSE; a row says how many
    were left out. On several data levels each has one row per strategy: of the chosen setting, or else the best.
    """
    levels = collect_levels(store)
    material = first_level(levels)
    blocks: list[tuple[str, list[dict[str, Any]], list[dict[str, Any]]]] = []
    if len(levels) == 1:
        rows, left_out = shorten(model_rows(material), _SHOWN_CANDIDATES)
        blocks.append(("", rows, control_rows(material)))
    else:
        left_out = 0
        for level in levels[:_SHOWN_LEVELS]:
            few = [row for row in control_rows(level) if row["strategy"] in _LEVEL_CONTROLS]
            blocks.append((level.name, [group_row(group) for group in level.shown_groups()], few))
    everything = [row for _, models, controls in blocks for row in (*models, *controls)]
    used = used_columns(everything)
    left_to_report = {*_REPORT_ONLY, *(("validation_mse",) if any(name == "test_mse" for name, _, _ in used) else ())}
    columns = [column for column in used if column[0] not in left_to_report]
    powers = _powers(everything, columns)
    table = Table(
        title=rich_text(_title(material), LINE),
        title_justify="left",
        caption=Text(shown_block(_caption(levels, [name for name, _, _ in columns]))),
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column(label_heading(everything), no_wrap=True)
    table.add_column("runs", justify="right")
    for name, heading, style in columns:
        unit = f"e{powers[name]}" if name in powers else "%" if style == "percent" else ""
        table.add_column(f"{heading}\n{unit}", justify="right", no_wrap=True)

    def add(row: dict[str, Any], label: Any, style: str | None) -> None:
        cells = [_short(row, name, form, powers.get(name, 0)) for name, _, form in columns]
        table.add_row(label, _count(row), *cells, style=style)

    for name, models, controls in blocks:
        if name:
            table.add_section()
            table.add_row(rich_text(name, LABEL), style="bold")
        for row in models:
            label = f"{row['label']} ★" if row["chosen"] else row["label"]
            add(row, rich_text(label, LABEL), "bold" if row["chosen"] and not name else None)
        if left_out:
            table.add_row(f"… {left_out} more settings", "", *("" for _ in columns), style="dim")
        if controls and not name:
            table.add_section()
        for row in controls:
            add(row, row["label"], "dim")
    if len(levels) > len(blocks):
        table.add_section()
        table.add_row(f"… {len(levels) - len(blocks)} more data levels: dash-hpc report --json", style="dim")
    return table


def _powers(rows: list[dict[str, Any]], columns: Any) -> dict[str, int]:
    """One power of ten for each column of errors, so that its numbers can be compared at a glance."""
    powers = {}
    for name in (name for name, _, style in columns if style == "error"):
        values = [row[name] for row in rows if row["kind"] == "model" and row.get(name, 0) > 0]
        powers[name] = math.floor(math.log10(min(values))) if values else 0
    return powers


def _number(row: dict[str, Any], name: str, style: str, power: int) -> tuple[str, str]:
    """Write the mean and the s.d. ("" when there is none) in the column's unit; "–" is not measured."""
    value, sd = row.get(name), row.get(f"{name}_sd", math.nan)
    if value is None or not math.isfinite(value):
        return "–", ""
    scale, digits = {"count": (1.0, 0), "percent": (100.0, 1), "share": (1.0, 3)}.get(style, (10.0**-power, 2))
    return f"{value * scale:,.{digits}f}", f"± {sd * scale:,.{digits}f}" if math.isfinite(sd) else ""


def _short(row: dict[str, Any], name: str, style: str, power: int) -> str:
    value, spread = _number(row, name, style, power)
    return f"{value} {spread}" if spread and name in _WITH_SPREAD else value


def used_columns(rows: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """The columns in which at least one row has a value.

    A model's sparsity on its own base stands there only where it is not that on the study's base.
    """
    used = [column for column in COLUMNS if any(column[0] in row for row in rows)]
    if not any("study_sparsity" in row for row in rows):
        return [(name, "sparsity" if name == "sparsity" else heading, style) for name, heading, style in used]
    differs = any("sparsity" in row and row.get("study_sparsity") != row["sparsity"] for row in rows)
    return [column for column in used if differs or column[0] != "sparsity"]


def column_units(rows: list[dict[str, Any]], columns: Any) -> list[str]:
    """Unit of each column, to stand below its heading: "%", a power of ten, or nothing."""
    powers = _powers(rows, columns)
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    return [
        "%" if style == "percent" else f"× 10{str(powers[name]).translate(raised)}" if powers.get(name) else ""
        for name, _, style in columns
    ]


def row_cells(rows: list[dict[str, Any]], columns: Any) -> list[list[tuple[str, str]]]:
    """Write each row: label (chosen settings starred), number of runs, then a mean and its s.d. for each column.

    A cell is (what is told, what stands below it in small type), in the units of ``column_units``.
    """
    powers = _powers(rows, columns)
    table = []
    for row in rows:
        label = f"{row['label']} ★" if row["chosen"] else str(row["label"])
        count = str(row["n_runs"]) if "n_runs" in row else ""
        numbers = [_number(row, name, style, powers.get(name, 0)) for name, _, style in columns]
        table.append([(label, ""), (count, _unfinished(row)), *numbers])
    return table


def _unfinished(row: dict[str, Any]) -> str:
    return ", ".join(
        f"{row[key]} {word}" for key, word in (("n_failed", "failed"), ("n_running", "running")) if row.get(key)
    )


def _count(row: dict[str, Any]) -> str:
    if "n_runs" not in row:
        return ""
    extra = _unfinished(row)
    return f"{row['n_runs']} ({extra})" if extra else str(row["n_runs"])


def format_metric(row: dict[str, Any], name: str, style: str) -> str:
    """Write mean ± s.d.: a count, a percentage with one decimal, a share with three, an error with three digits."""
    value, sd = row.get(name), row.get(f"{name}_sd", math.nan)
    if value is None or not math.isfinite(value):
        return "–"
    if style == "count":
        return f"{value:,.0f}" if not math.isfinite(sd) else f"{value:,.0f} ± {sd:,.0f}"
    if style == "percent":
        return f"{100 * value:.1f} %" if not math.isfinite(sd) else f"{100 * value:.1f} ± {100 * sd:.1f} %"
    if style == "share":
        return f"{value:.3f}" if not math.isfinite(sd) else f"{value:.3f} ± {sd:.3f}"
    exponent = math.floor(math.log10(value)) if value > 0 else 0
    mantissa = value / 10.0**exponent
    if not math.isfinite(sd):
        return f"{mantissa:.2f}e{exponent}"
    return f"({mantissa:.2f} ± {sd / 10.0**exponent:.2f})e{exponent}"


def label_heading(rows: list[dict[str, Any]]) -> str:
    """What stands above the labels: with the letters that some of them have in brackets."""
    columns = dict.fromkeys(column for row in rows for column in row.get("setting", ()))
    letters = [axis_label(column) for column in columns if axis_label(column) != axis_name(column)]
    return f"strategy ({', '.join(letters)})" if letters else "strategy"


def shorten(rows: list[dict[str, Any]], most: int) -> tuple[list[dict[str, Any]], int]:
    """Keep of a strategy's many settings the chosen one and those with the lowest validation error.

    Also says how many were left out.
    """
    kept = []
    for strategy in dict.fromkeys(row["strategy"] for row in rows):
        mine = [row for row in rows if row["strategy"] == strategy]
        by_error = sorted(mine, key=lambda row: (not row["chosen"], row.get("validation_mse", math.inf)))
        kept += [id(row) for row in by_error[:most]]
    shown = [row for row in rows if id(row) in kept]
    return shown, len(rows) - len(shown)


def _title(material: Material) -> str:
    name = getattr(material.store, "name", "") or "study"
    return f"{name}: kept models, mean ± s.d. over {material.over}"


def on_one_base(material: Material) -> str:
    """What a sparsity is a share of, in words."""
    base, hidden = material.base_weights, material.spec.get("model", {}).get("hidden")
    if "model.hidden" in material.runs and material.runs["model.hidden"].nunique() > 1:
        return "zeros among the 4·m·G weights that the setting's m = model.hidden gives a model"
    size = f" = {base:,}" if base else ""
    return f"zeros among the 4·m·G{size} weights that the study's m = {hidden} gives a model"


def _worse_than_nothing(material: Material) -> str:
    """A warning when the model that is shown predicts worse than no change at all; else empty."""
    group = material.chosen
    still = material.controls.get("control_persistence_mse")
    error = mean_sd(group.done["test_mse"])[0] if group is not None and "test_mse" in group.done else math.nan
    if still is None or not error > still:
        return ""
    advice = next((note for note in material.data_notes if "scale the data" in note), "")
    hint = f" ({advice})" if advice else ""
    return f"The chosen model predicts worse than no change: do not read its network{hint}."


def _caption(levels: Sequence[Material], columns: list[str]) -> str:
    material = first_level(levels)
    if len(levels) == 1:
        several = len(material.selections) > 1
        lines = [
            f"★ chosen on {ERRORS[choice.error]}: {f'{name}, ' if several else ''}{choice.reason}"
            for name, choice in material.selections.items()
        ]
    else:
        lines = ["★ chosen on validation error on each data level by itself; dash-hpc select says how."]
    lines += [*alerts(levels), _worse_than_nothing(material)]
    if "sparsity" in columns and "study_sparsity" in columns:
        lines.append(f"Sparsity: {on_one_base(material)}; “own m”: of the weights that the model's own m gives it.")
    if not material.has_truth:
        lines.append("No reference network: nothing here says whether the edges are true.")
    elif material.controls:
        lines.append("BA over all ordered gene pairs, self-pairs included. Dim rows: predictors without training.")
        lines.append(about_controls(material))
    if "balanced_accuracy_reference_tfs" in columns:
        lines.append(f"BA ref.: {REFERENCE_TFS}.")
    if "precision" in columns:
        lines.append("Prec.: precision, the share of the model's edges that the reference has.")
    return "\n".join(line for line in lines if line)
