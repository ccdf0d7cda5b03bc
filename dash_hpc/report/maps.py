"""Maps of a strategy's settings: validation error, sparsity and accuracy over any two numbers that it varies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dash_hpc.evaluation import ERRORS, axis_label, value_name
from dash_hpc.report.material import Group, Material, mean_sd
from dash_hpc.report.style import INK, panel_title, style

__all__ = ["setting_maps"]

_DENSE = 60  # cells of a heat map above which its numbers are small
_PAGE_INCHES = 12.6
_SEQUENTIAL = LinearSegmentedColormap.from_list("dash", ["#f3f7fb", "#9cc3e0", "#2f7db8", "#08335c"])


def setting_maps(material: Material, strategy: str) -> Figure | None:
    """Draw heat maps of validation error, sparsity and balanced accuracy over two numbers that settings differ in.

    These are the two with the most values; everything else is as in the chosen setting, whose cell is framed. None
    where no number varies or fewer than two settings have finished.
    """
    groups = [group for group in material.groups if group.strategy == strategy and not group.done.empty]
    chosen = next((group for group in groups if group.chosen), None)
    if chosen is None:
        return None
    down, across = _axes(groups)
    fixed = [column for column in chosen.setting if column not in (down, across)]
    groups = [g for g in groups if all(_same(g.setting[column], chosen.setting[column]) for column in fixed)]
    if across is None or len(groups) < 2:
        return None
    error = material.selections[strategy].error if strategy in material.selections else "validation_mse"
    name = ERRORS[error][0].upper() + ERRORS[error][1:]
    panels = [(error, name, "this decides"), ("sparsity", "Sparsity (%)", "breaks near-ties")]
    if any("balanced_accuracy" in g.done and g.done["balanced_accuracy"].notna().any() for g in groups):
        panels.append(("balanced_accuracy", "Balanced accuracy", "not used to choose"))
    rows = [None] if down is None else sorted({g.setting[down] for g in groups})
    columns = sorted({g.setting[across] for g in groups})
    with style():
        cell = 0.42 if len(rows) * len(columns) > _DENSE else 0.62
        width, height = max(2.9, cell * len(columns) + 1.6), max(2.6, 0.75 * cell * len(rows) + 1.5)
        # Side by side while the page is wide enough for letters of a readable size, else below one another.
        beside = min(len(panels), max(1, int(_PAGE_INCHES / width)))
        below = -(-len(panels) // beside)
        figure = Figure(figsize=(beside * width, below * height), layout="constrained")
        axes = figure.subplots(below, beside, squeeze=False)
        for axis in axes.ravel()[len(panels) :]:
            axis.set_axis_off()
        places = {id(g): (0 if down is None else rows.index(g.setting[down]), columns.index(g.setting[across]))
                  for g in groups}  # fmt: skip
        for axis, (metric, title, subtitle) in zip(axes.ravel(), panels, strict=False):
            exponent = _heat(axis, groups, metric, places, (len(rows), len(columns)))
            panel_title(axis, title, f"× 1e{exponent}, {subtitle}" if exponent else subtitle)
            axis.set_xticks(range(len(columns)), [value_name(value) for value in columns])
            axis.set_yticks(range(len(rows)), ["" if value is None else value_name(value) for value in rows])
            axis.set_xlabel(axis_label(across))
        for axis in axes[:, 0]:
            axis.set_ylabel("" if down is None else axis_label(down))
    return figure


def _axes(groups: Sequence[Group]) -> tuple[str | None, str | None]:
    """The columns to map, downwards and across: numbers, the two with the most values, in the order of the setting."""
    counts: dict[str, int] = {}
    for column in groups[0].setting:
        values = [group.setting[column] for group in groups]
        if all(isinstance(value, (int, float, np.number)) and not isinstance(value, bool) for value in values):
            counts[column] = len(set(values))
    most = sorted(counts, key=lambda column: -counts[column])[:2]
    if not most or counts[most[0]] < 2:
        return None, None
    ordered = [column for column in counts if column in most]
    return (ordered[0], ordered[1]) if len(ordered) == 2 else (None, ordered[0])


def _same(one: Any, other: Any) -> bool:
    return bool(one == other or (one != one and other != other))


def _heat(
    axis: Any, groups: Sequence[Group], metric: str, places: dict[int, tuple[int, int]], shape: tuple[int, int]
) -> int:
    """Draw one map and return the power of ten that its numbers are in."""
    table = np.full(shape, np.nan)
    chosen = None
    for group in groups:
        cell = places[id(group)]
        table[cell] = mean_sd(group.done.get(metric, []))[0] * (100 if metric == "sparsity" else 1)
        chosen = cell if group.chosen else chosen
    finite = table[np.isfinite(table)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    high = high if high > low else low + max(abs(low), 1e-12) * 1e-3
    exponent = math.floor(math.log10(high)) if metric in ERRORS and high > 0 else 0
    axis.set_facecolor("#eceef0")
    axis.imshow(table, cmap=_SEQUENTIAL, vmin=low, vmax=high, aspect="auto", origin="lower")
    dense = table.size > _DENSE
    for (r, c), value in np.ndenumerate(table):
        if np.isfinite(value):
            text = f"{value:.1f}" if metric == "sparsity" else f"{value / 10.0**exponent:.{2 if exponent else 3}f}"
            shade = "white" if (value - low) / (high - low) > 0.55 else INK
            axis.text(c, r, text, ha="center", va="center", fontsize=6 if dense else 8, color=shade)
    if chosen is not None:
        frame = Rectangle((chosen[1] - 0.5, chosen[0] - 0.5), 1, 1, fill=False, ec="#d55e00", lw=2.4, clip_on=False)
        axis.add_patch(frame)
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)
    return exponent
