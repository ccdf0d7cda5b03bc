"""Figures of a comparison of strategies: a row each beside the published values, and accuracy along sparsity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from dash_hpc.report.comparison import MEASURES, Comparison, comparison
from dash_hpc.report.material import Group, Material, mean_sd, sparsity_column
from dash_hpc.report.style import INK, QUIET, colour, marker, panel_title, power_ticks, style, tidy

__all__ = ["curves", "ranking"]

_LOG = ("out_degree", "test_mse", "validation_mse", "seconds_total")
_ACROSS = 4
_SHORT = {"plateau": "plateau"}  # as a title
_SPARSITY_TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)


def ranking(material: Material) -> Figure | None:
    """Draw every strategy as a row: each measure's mean ± s.d. and seeds, published values and controls beside."""
    found = comparison(material)
    if found is None:
        return None
    with style():
        n = len(found.rows)
        figure = Figure(figsize=(1.18 * len(found.measures) + 1.3, 0.27 * n + 1.35), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(found.measures), sharey=True))
        for axis, measure in zip(axes, found.measures, strict=True):
            _column(axis, material, found, measure)
        axes[0].set_yticks(range(n), [row.strategy for row in found.rows])
        axes[0].tick_params(axis="y", labelsize=9, colors=INK)
        axes[0].set_ylim(n - 0.4, -0.6)
        handles = [Line2D([], [], marker="o", ls="", ms=6.5, color=QUIET, mec="white", mew=0.8)]
        labels = ["mean ± s.d., seeds small"]
        if any(row.published for row in found.rows):
            handles.append(Line2D([], [], marker="d", ls="", ms=7, mfc="none", mec=INK, mew=1.0))
            labels.append("published")
        if "balanced_accuracy" in found.measures:
            handles.append(Line2D([], [], color=QUIET, lw=0.9, ls=(0, (4, 3))))
            labels.append("the prior itself; no change")
        figure.legend(handles, labels, loc="outside lower left", ncols=3, handletextpad=0.4)
    return figure


def _column(axis: Any, material: Material, found: Comparison, measure: str) -> None:
    heading, form, better = MEASURES[measure]
    factor = 100.0 if form == "percent" else 1.0
    for place, row in enumerate(found.rows):
        mean, sd, n = row.values.get(measure, (math.nan, math.nan, 0))
        if not n:
            continue
        shade, shape = colour(row.strategy), marker(row.strategy)
        spread = None if math.isnan(sd) else factor * sd
        axis.errorbar(factor * mean, place, xerr=spread, fmt=shape, ms=6.5, color=shade, mec="white", mew=0.8,
                      elinewidth=1.2, zorder=4)  # fmt: skip
        single = _singles(row.group, measure)
        axis.scatter(factor * single, np.full(len(single), place), s=7, color=shade, alpha=0.5, lw=0, zorder=3)
        told = None if row.published is None else getattr(row.published, _PUBLISHED.get(measure, ""), None)
        if told is not None:
            axis.plot(factor * told, place, "d", ms=7, mfc="none", mec=INK, mew=1.0, zorder=5)
    key = {"balanced_accuracy": "control_prior_ba", "precision": "control_prior_precision",
           "test_mse": "control_persistence_mse",
           "validation_mse": "control_persistence_validation_mse"}.get(measure)  # fmt: skip
    if key in material.controls:
        axis.axvline(material.controls[key], color=QUIET, lw=0.9, ls=(0, (4, 3)), zorder=1)
    if measure == "balanced_accuracy":
        axis.axvline(0.5, color="#c3c8ce", lw=0.8, zorder=1)
    logarithmic = measure in _LOG and _least(found, measure) > 0
    if logarithmic:
        axis.set_xscale("log")
        values = [v[0] for row in found.rows if (v := row.values.get(measure)) and v[2]]
        if max(values) / min(values) > 30:
            power_ticks(axis.xaxis)
        else:
            _few_ticks(axis)
    unit = {"percent": "%", "seconds": "s", "error": "expression²"}.get(form, "")
    unit = {"out_degree": "genes", "plateau": "epoch"}.get(measure, unit) + (", log" if logarithmic else "")
    arrow = {True: "→ better", False: "← better", None: ""}[better]
    panel_title(axis, _SHORT.get(measure, heading), arrow or " ")
    axis.set_xlabel(unit)
    tidy(axis, grid="both")
    axis.tick_params(axis="x", labelsize=7.5)


_PUBLISHED = {"sparsity": "sparsity", "balanced_accuracy": "balanced_accuracy", "test_mse": "mse"}


def _singles(group: Group, measure: str) -> np.ndarray:
    source = sparsity_column([group]) if measure == "sparsity" else measure
    if source not in group.done:
        return np.zeros(0)
    values = group.done[source].astype(float).to_numpy()
    return values[np.isfinite(values)]


def _least(found: Comparison, measure: str) -> float:
    values = [float(_singles(row.group, measure).min()) for row in found.rows if len(_singles(row.group, measure))]
    return min(values, default=0.0)


def _few_ticks(axis: Any) -> None:
    low, high = axis.get_xlim()
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1, 3) if high / low > 8 else (1, 2, 3, 5, 7)
    ticks = [digit * 10.0**decade for decade in decades for digit in digits]
    ticks = [tick for tick in ticks if low <= tick <= high]
    if len(ticks) > 3:
        ticks = ticks[:: -(-len(ticks) // 3)]
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.xaxis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
    axis.xaxis.set_minor_locator(NullLocator())


def curves(material: Material) -> Figure | None:
    """Draw balanced accuracy against sparsity, a panel per strategy: all its settings, those of others behind."""
    found = comparison(material)
    if found is None or "balanced_accuracy" not in found.measures:
        return None
    order = [row.strategy for row in found.rows]
    points = {name: _means(material, name) for name in order}
    everything = np.array([point[:2] for own in points.values() for point in own])
    if not len(everything):
        return None
    across = min(_ACROSS, len(order))
    down = -(-len(order) // across)
    with style():
        figure = Figure(figsize=(2.65 * across + 0.4, 2.0 * down + 0.6), layout="constrained")
        axes = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for axis in axes.ravel()[len(order) :]:
            axis.set_axis_off()
        for axis, name in zip(axes.ravel(), order, strict=False):
            _curve(axis, material, name, points[name], everything)
        for axis in axes[:, 0]:
            axis.set_ylabel("balanced accuracy")
        for k in range(across):
            bottom = max((r for r in range(down) if r * across + k < len(order)), default=0)
            axes[bottom, k].set_xlabel("sparsity (%)")
            axes[bottom, k].tick_params(labelbottom=True)
        _sparsity_axis(axes[0, 0], everything[:, 0])
        handles = [
            Line2D([], [], marker="o", ls="", ms=3.5, color="#c3c8ce"),
            Line2D([], [], color=QUIET, lw=0.9, ls=(0, (4, 3))),
            Line2D([], [], color="#c3c8ce", lw=0.9),
        ]
        labels = ["settings of the others", "the prior itself", "chance: weights drawn at random"]
        if material.bioprune is not None:
            handles.append(Line2D([], [], color=colour("bioprune"), lw=1.2))
            labels.append("BioPrune, no training")
        figure.legend(handles, labels, loc="outside lower left", ncols=4, handletextpad=0.4)
    return figure


def _place(sparsity: Any) -> np.ndarray:
    return -np.log10(np.maximum(1.0 - np.asarray(sparsity, dtype=float), 1e-4))


def _means(material: Material, strategy: str) -> list[tuple[float, float, float, float, bool]]:
    """Sparsity, accuracy, their s.d., and whether it is the chosen one, of each setting, by sparsity."""
    own = []
    for group in material.groups:
        if group.strategy != strategy or "balanced_accuracy" not in group.done or group.done.empty:
            continue
        column = sparsity_column([group])
        x, sx, n = mean_sd(group.done[column]) if column in group.done else (math.nan, math.nan, 0)
        y, sy, m = mean_sd(group.done["balanced_accuracy"])
        if n and m:
            own.append((x, y, sx, sy, group.chosen))
    return sorted(own)


def _curve(axis: Any, material: Material, name: str, own: list[Any], everything: np.ndarray) -> None:
    axis.scatter(_place(everything[:, 0]), everything[:, 1], s=7, color="#d5d9de", lw=0, zorder=1)
    axis.axhline(0.5, color="#c3c8ce", lw=0.9, zorder=0)
    if "control_prior_ba" in material.controls:
        axis.axhline(material.controls["control_prior_ba"], color=QUIET, lw=0.9, ls=(0, (4, 3)), zorder=1)
    if material.bioprune is not None:
        axis.plot(_place(material.bioprune["study_sparsity"]), material.bioprune["balanced_accuracy"],
                  color=colour("bioprune"), lw=1.0, alpha=0.8, zorder=2)  # fmt: skip
    shade, shape = colour(name), marker(name)
    x, y = [float(_place(point[0])) for point in own], [point[1] for point in own]
    axis.plot(x, y, color=shade, lw=0.9, alpha=0.5, zorder=3)
    for (at, value), point in zip(zip(x, y, strict=True), own, strict=True):
        spread = None if math.isnan(point[3]) else point[3]
        axis.errorbar(at, value, yerr=spread, fmt="D" if point[4] else shape, ms=6 if point[4] else 4.5, color=shade,
                      mec="white", mew=0.7, elinewidth=0.9, zorder=5 if point[4] else 4)  # fmt: skip
    panel_title(axis, name)
    tidy(axis, grid="both")


def _sparsity_axis(axis: Any, values: np.ndarray) -> None:
    largest, smallest = float(values.max()), min(0.0, float(values.min()))
    stop = next((tick for tick in _SPARSITY_TICKS if tick > largest), 0.9999)
    ticks = [tick for tick in _SPARSITY_TICKS if smallest <= tick <= stop]
    shown = [tick for tick in ticks if tick not in (0.5, 0.98) or len(ticks) < 5]
    axis.xaxis.set_major_locator(FixedLocator([float(_place(tick)) for tick in shown]))
    axis.xaxis.set_major_formatter(FixedFormatter([f"{100 * tick:g}" for tick in shown]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlim(float(_place(smallest)) - 0.08, float(_place(stop)) + 0.05)
