"""Tables of a study on several data levels: what stands where on each of them, and what was chosen there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash_hpc.evaluation import is_section_key, setting_name
from dash_hpc.report.controls import control_rows
from dash_hpc.report.material import Material
from dash_hpc.report.summary import group_row

__all__ = ["choice_rows", "level_rows", "varied"]

_MOST_VALUES = 12


def level_rows(level: Material) -> list[dict[str, Any]]:
    """One row per strategy on a data level, of the chosen setting or else the best one, and the controls below."""
    return [*(group_row(group) for group in level.shown_groups()), *control_rows(level)]


def choice_rows(levels: Sequence[Material]) -> list[dict[str, Any]]:
    """What was chosen on each level, a row per strategy that has something to choose."""
    rows = []
    for level in levels:
        for strategy, choice in level.selections.items():
            row = choice.candidates[choice.candidates["chosen"]].iloc[0]
            rows.append(
                {
                    "level": level.name,
                    "strategy": strategy,
                    "setting": setting_name(choice.setting) or "–",
                    "mse": f"{row['validation_mse']:.3e}",
                    "se": f"{row['se']:.1e}" if row["se"] == row["se"] else "–",
                    "sparsity": f"{100 * row['sparsity']:.1f} %",
                    "candidates": len(choice.candidates),
                }
            )
        rows += [
            {"level": level.name, "strategy": strategy, "setting": reason, "mse": "–", "se": "–", "sparsity": "–",
             "candidates": 0}
            for strategy, reason in level.no_selection.items()
        ]  # fmt: skip
    return rows


def varied(levels: Sequence[Material]) -> list[tuple[str, str]]:
    """What the study varies besides strategies, options and seeds: (key, its values)."""
    found: dict[str, dict[str, None]] = {}
    for level in levels:
        columns = list(level.level)
        columns += [column for group in level.groups for column in group.setting if is_section_key(column)]
        for column in dict.fromkeys(columns):
            values = [level.level[column]] if column in level.level else level.runs[column].dropna().unique()
            for value in values:
                found.setdefault(column, {})[setting_name({column: value}).partition(" = ")[2]] = None
    told = []
    for column, values in found.items():
        names = list(values)
        more = f", … ({len(names)} values)" if len(names) > _MOST_VALUES else ""
        told.append((column, ", ".join(names[:_MOST_VALUES]) + more))
    return told
