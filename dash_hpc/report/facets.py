"""Figure of a study that varies its data or sections: accuracy and error along what it varies, a facet per level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator

from dash_hpc.evaluation import axis_label, setting_name, value_name
from dash_hpc.report.material import Group, Material, best_group, mean_sd
from dash_hpc.report.style import QUIET, colour, log_ticks, marker, panel_title, style, tidy

__all__ = ["MOST_FACETS", "Facets", "facet_points", "facets"]

#: Panels side by side; of more levels the table has the numbers.
MOST_FACETS = 6
_METRICS = {
    "balanced_accuracy": ("balanced accuracy", ("control_prior_ba", "the prior itself")),
    "test_mse": ("test MSE (expression²)", ("control_persistence_mse", "no change")),
    "validation_mse": ("validation MSE (expression²)", ("control_persistence_validation_mse", "no change")),
}


@dataclass(frozen=True)
class Facets:
    """What is drawn against what.

    ``points`` has, for each place (a value of every axis) and strategy, the group that stands there: the chosen setting
    where it is among them, else the one with the lowest validation error. ``across`` is the axis that is drawn along,
    ``panels`` the places of all others, in order.
    """

    points: list[tuple[Mapping[str, Any], str, Group]]
    across: str
    panels: list[Mapping[str, Any]]


def facet_points(levels: Sequence[Material]) -> Facets | None:
    """Arrange the levels of a study; None where neither data nor a section varies."""
    points: list[tuple[Mapping[str, Any], str, Group]] = []
    axes = list(dict.fromkeys(column for level in levels for column in _axes(level)))
    for level in levels:
        places: dict[tuple[str, str], tuple[Mapping[str, Any], list[Group]]] = {}
        for group in level.groups:
            if group.done.empty:
                continue
            # A strategy that an axis does not matter to stands at all of its values.
            place = dict(level.level) | {column: group.setting[column] for column in axes if column in group.setting}
            places.setdefault((repr(place), group.strategy), (place, []))[1].append(group)
        points += [(place, name, best_group(groups)) for (_, name), (place, groups) in places.items()]
    values = {axis: list(dict.fromkeys(place[axis] for place, _, _ in points if axis in place)) for axis in axes}
    axes = [axis for axis in axes if len(values[axis]) > 1]
    if not axes:
        return None
    across = max(axes, key=lambda axis: (_are_numbers(values[axis]), len(values[axis])))
    others = [axis for axis in axes if axis != across]
    rests = [{axis: place[axis] for axis in others} for place, _, _ in points if place.keys() >= set(others)]
    panels = {repr(rest): rest for rest in rests}
    return Facets(points, across, list(panels.values()))


def facets(levels: Sequence[Material]) -> Figure | None:
    """Draw balanced accuracy and one-step error along the axis with the most values, a column of panels per level."""
    found = facet_points(levels)
    if found is None:
        return None
    metrics = [name for name in _METRICS if any(_has(group, name) for _, _, group in found.points)]
    metrics = [name for name in metrics if name != "validation_mse" or "test_mse" not in metrics]
    panels = found.panels[:MOST_FACETS]
    places = list(dict.fromkeys(place[found.across] for place, _, _ in found.points if found.across in place))
    places = sorted(places) if _are_numbers(places) else places
    strategies = list(dict.fromkeys(name for _, name, _ in found.points))
    with style():
        size = (max(4.6, 2.5 * len(panels) + 0.9), 2.5 * len(metrics) + 0.9)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(metrics), len(panels), sharex=True, sharey="row", squeeze=False)
        for column, panel in enumerate(panels):
            for axis, metric in zip(grid[:, column], metrics, strict=True):
                for name in strategies:
                    _line(axis, found, panel, places, name, metric)
                _control(axis, levels, found.across, panel, places, _METRICS[metric][1][0])
                tidy(axis)
            if panel:
                panel_title(grid[0, column], setting_name(panel))
            _ticks(grid[-1, column], places, axis_label(found.across))
        for axis, metric in zip(grid[:, 0], metrics, strict=True):
            axis.set_ylabel(_METRICS[metric][0])
            if metric.endswith("mse"):
                axis.set_yscale("log")
                log_ticks(axis)
        handles = [Line2D([], [], color=colour(name), marker=marker(name), ms=5, lw=1.4) for name in strategies]
        handles.append(Line2D([], [], color=QUIET, lw=0.9, ls=(0, (4, 3))))
        labels = [*strategies, " / ".join(_METRICS[metric][1][1] for metric in metrics)]
        figure.legend(handles, labels, loc="outside upper left", ncols=6, handletextpad=0.4)
    return figure


def _axes(level: Material) -> list[str]:
    sections = [
        column for group in level.groups for column in group.setting if "." in column and "option." not in column
    ]
    return list(dict.fromkeys([*level.level, *sections]))


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, (int, float, np.number)) and not isinstance(value, bool) for value in values)


def _has(group: Group, metric: str) -> bool:
    return metric in group.done and bool(group.done[metric].notna().any())


def _line(
    axis: Any, found: Facets, panel: Mapping[str, Any], places: Sequence[Any], strategy: str, metric: str
) -> None:
    """One strategy in one panel: means over seeds with ± 1 s.d.; a level line where the axis does not matter to it."""
    x, y, spread = [], [], []
    for place, name, group in found.points:
        here = all(panel.get(column, value) == value for column, value in place.items() if column != found.across)
        if name != strategy or not here or not _has(group, metric):
            continue
        mean, sd, _ = mean_sd(group.done[metric])
        at = [places.index(place[found.across])] if found.across in place else range(len(places))
        for number in at:
            x.append(number)
            y.append(mean)
            spread.append(0.0 if np.isnan(sd) else sd)
    order = np.argsort(x)
    joined = "-" if _are_numbers(places) else ""  # between names there is no way
    axis.errorbar(
        np.array(x)[order], np.array(y)[order], yerr=np.array(spread)[order], color=colour(strategy),
        marker=marker(strategy), ms=5, mec="white", mew=0.7, ls=joined, lw=1.4,
        elinewidth=0.9, zorder=3,
    )  # fmt: skip


def _control(
    axis: Any, levels: Sequence[Material], across: str, panel: Mapping[str, Any], places: Sequence[Any], key: str
) -> None:
    """What needs no training, on the data of each place."""
    known: dict[int, float] = {}
    for level in levels:
        here = all(panel.get(column, value) == value for column, value in level.level.items() if column != across)
        if here and key in level.controls:
            at = [places.index(level.level[across])] if across in level.level else range(len(places))
            known |= dict.fromkeys(at, level.controls[key])
    if known:
        axis.plot(sorted(known), [known[x] for x in sorted(known)], color=QUIET, lw=0.9, ls=(0, (4, 3)), zorder=1)


def _ticks(axis: Any, places: Sequence[Any], name: str) -> None:
    step = -(-len(places) // 12)
    axis.xaxis.set_major_locator(FixedLocator(range(0, len(places), step)))
    axis.xaxis.set_major_formatter(FixedFormatter([value_name(value) for value in places[::step]]))
    axis.set_xlim(-0.35, len(places) - 0.65)
    axis.set_xlabel(name)
