"""Figures over all runs: sparsity against accuracy, training curves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from dash_hpc.evaluation import ERRORS, setting_name
from dash_hpc.report.material import Group, Material, mean_sd, sparsity_column
from dash_hpc.report.style import QUIET, colour, log_ticks, marker, panel_title, style, tidy

__all__ = ["tradeoff", "training_curves"]

_SPARSITY_TICKS = (-9.0, -4.0, -1.0, 0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
_CONTROL_LINES = {
    "prior": "prior itself",
    "margins": "sources × targets",
    "sources": "sources × all",
    "correlation": "levels correlated",
    "residual": "residual corr.",
    "out_degree": "true out-degree",
}
_FEW = 6  # strategies of which a legend has room for the settings
_ACROSS = 6  # trainings side by side


def _place(sparsity: Any) -> np.ndarray:
    """Position on the axis: the share of kept weights on a log scale, so that 90, 95 and 99 % stand apart."""
    return -np.log10(np.maximum(1.0 - np.asarray(sparsity, dtype=float), 1e-4))


def tradeoff(material: Material) -> Figure | None:
    """Draw balanced accuracy (where a reference is known) and one-step error against sparsity, with the controls.

    All sparsities are shares of the study's 4·m·G, so that models with an m of their own stand where their number of
    active weights, written below the axis, puts them.
    """
    groups = [group for group in material.groups if not group.done.empty and "sparsity" in group.done]
    if not groups:
        return None
    error = "test_mse" if _has(groups, "test_mse") else "validation_mse"
    panels = ["balanced_accuracy"] if _has(groups, "balanced_accuracy") else []
    panels += [error] if _has(groups, error) else []
    if not panels:
        return None
    with style():
        figure = Figure(figsize=(5.0 * len(panels) + 1.0, 4.3), layout="constrained")
        figure.set_layout_engine("constrained", w_pad=0.12)
        axes = np.atleast_1d(figure.subplots(1, len(panels)))
        for axis, metric in zip(axes, panels, strict=True):
            for group in groups:
                _points(axis, group, metric, sparsity_column(groups), faint=_is_faint(material, group))
            _sparsity_axis(axis, groups, material)
            tidy(axis, grid="both")
        for axis, metric in zip(axes, panels, strict=True):
            (_accuracy_controls if metric == "balanced_accuracy" else _error_control)(axis, material, metric)
        many = len({group.strategy for group in groups}) > _FEW
        legend = _legend(material, groups, brief=many)
        figure.legend(*legend, loc="outside upper left", ncols=7 if many else 6, handletextpad=0.3)
    return figure


def _has(groups: list[Group], metric: str) -> bool:
    return any(metric in group.done and group.done[metric].notna().any() for group in groups)


def _is_faint(material: Material, group: Group) -> bool:
    """Whether another setting of the strategy was chosen."""
    return group.strategy in material.selections and not group.chosen


def _points(axis: Any, group: Group, metric: str, sparsity: str, *, faint: bool) -> None:
    if metric not in group.done or sparsity not in group.done:
        return
    shade, shape = colour(group.strategy), marker(group.strategy)
    x, y = _place(group.done[sparsity]), group.done[metric].astype(float)
    axis.scatter(x, y, s=10, marker=shape, color=shade, alpha=0.18 if faint else 0.45, linewidths=0, zorder=2)
    (mx, _, _), (my, sy, _) = mean_sd(group.done[sparsity]), mean_sd(y)
    sx = mean_sd(x)[1]
    axis.errorbar(
        _place(mx),
        my,
        xerr=None if math.isnan(sx) else sx,
        yerr=None if math.isnan(sy) else sy,
        fmt="D" if group.chosen else shape,
        ms=9 if group.chosen else 5.5 if faint else 7.5,
        color=shade,
        mec="white",
        mew=0.9,
        elinewidth=1.0,
        alpha=0.55 if faint else 1.0,
        zorder=5 if group.chosen else 3 if faint else 4,
    )


def _sparsity_axis(axis: Any, groups: list[Group], material: Material) -> None:
    column = sparsity_column(groups)
    base = material.base_weights if column == "study_sparsity" else None
    values = pd.concat([group.done[column] for group in groups if column in group.done]).dropna()
    largest, smallest = (float(values.max()), min(0.0, float(values.min()))) if len(values) else (0.0, 0.0)
    stop = next((tick for tick in _SPARSITY_TICKS if tick > largest), 0.9999)
    start = next((tick for tick in reversed(_SPARSITY_TICKS) if tick <= smallest), smallest)
    ticks = [tick for tick in _SPARSITY_TICKS if start <= tick <= stop]
    labels = [f"{100 * tick:g}" for tick in ticks]
    name = "model sparsity (% of weights that are 0; kept share on a log scale)"
    if base is not None:
        labels = [f"{label}\n{_short(base * (1 - tick))}" for label, tick in zip(labels, ticks, strict=True)]
        name = f"sparsity (% of the study's 4·m·G = {base:,} weights that are 0)\nbelow it: active weights, log scale"
    axis.xaxis.set_major_locator(FixedLocator([float(_place(tick)) for tick in ticks]))
    axis.xaxis.set_major_formatter(FixedFormatter(labels))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlim(float(_place(start)) - 0.06, float(_place(stop)) + 0.02)
    axis.set_xlabel(name)


def _short(count: float) -> str:
    """A number of weights in few letters: 340, 8.4k, 56k, 1.2M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.{1 if count < 10 * size else 0}f}{unit}"
    return f"{count:.0f}"


def _accuracy_controls(axis: Any, material: Material, metric: str) -> None:
    axis.set_ylabel("balanced accuracy, all gene pairs")
    panel_title(axis, "Which edges", "against the reference network")
    low, high = axis.get_ylim()
    levels = [(0.5, "chance")]
    for key, label in _CONTROL_LINES.items():
        if f"control_{key}_ba" in material.controls:
            levels.append((material.controls[f"control_{key}_ba"], label))
    axis.set_ylim(min(low, 0.48), min(1.02, max([high, *(level + 0.02 for level, _ in levels)])))
    for level, _ in levels:
        axis.axhline(level, color=QUIET, lw=0.9, ls=(0, (4, 3)), zorder=1)
    low, high = axis.get_ylim()
    gap = 0.042 * (high - low)
    for place, (level, label) in zip(_spread([v for v, _ in levels], gap), levels, strict=True):
        axis.annotate(
            f"{label} {level:.3f}" if label != "chance" else "chance 0.5",
            (1.01, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=7.5,
            color=QUIET,
            annotation_clip=False,
        )
    if material.bioprune is not None:
        limit = axis.get_xlim()[1]
        x = _place(material.bioprune["study_sparsity"])
        inside = x <= limit
        shade = colour("bioprune")
        axis.plot(x[inside], material.bioprune[metric].to_numpy()[inside], color=shade, lw=1.2, alpha=0.9, zorder=2)


def _error_control(axis: Any, material: Material, metric: str) -> None:
    data = "test" if metric == "test_mse" else "validation"
    axis.set_yscale("log")
    axis.set_ylabel(f"{data} MSE, one step ahead (expression²)")
    panel_title(axis, "How well it predicts", f"{data} data, lower is better")
    key = "control_persistence_mse" if metric == "test_mse" else "control_persistence_validation_mse"
    if key in material.controls:
        level = material.controls[key]
        axis.axhline(level, color=QUIET, lw=0.9, ls=(0, (4, 3)), zorder=1)
        low, high = axis.get_ylim()
        axis.set_ylim(min(low, level / 1.08), max(high, level * 1.08))
        axis.annotate(
            f"no change {level:.2e}", (0.01, level), xycoords=("axes fraction", "data"), xytext=(0, 3),
            textcoords="offset points", fontsize=7.5, color=QUIET,
        )  # fmt: skip
    log_ticks(axis)


def _spread(values: list[float], gap: float) -> list[float]:
    """Move label positions apart to at least ``gap``, keeping their order and centre."""
    order = np.argsort(values)
    placed = np.array(values, dtype=float)[order]
    for _ in range(50):
        for k in range(len(placed) - 1):
            short = gap - (placed[k + 1] - placed[k])
            if short > 1e-12:
                placed[k] -= short / 2
                placed[k + 1] += short / 2
    result = np.empty(len(values))
    result[order] = placed
    return result.tolist()


def _legend(material: Material, groups: list[Group], *, brief: bool = False) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    handles: list[Any] = []
    labels: list[str] = []

    def add(label: str, **options: Any) -> None:
        handles.append(Line2D([], [], mec="white", mew=0.9, **options))
        labels.append(label)

    for strategy in dict.fromkeys(group.strategy for group in groups):
        members = [group for group in groups if group.strategy == strategy]
        shade, shape = colour(strategy), marker(strategy)
        chosen = [group for group in members if group.chosen]
        if brief:
            add(strategy, marker="D" if chosen else shape, ms=7, color=shade, ls="")
        elif chosen:
            what = setting_name(chosen[0].setting)
            add(f"{strategy}, chosen {what}, {_seeds(chosen)}", marker="D", ms=8, color=shade, ls="")
            if rest := len(members) - 1:
                others = f"{strategy}, {rest} other setting{'s' * (rest > 1)}"
                add(others, marker=shape, ms=5.5, color=shade, ls="", alpha=0.55)
        else:
            add(f"{strategy}, {_seeds(members)}", marker=shape, ms=7, color=shade, ls="")
    if material.bioprune is not None and _has(groups, "balanced_accuracy"):
        add("BioPrune, no training", color=colour("bioprune"), lw=1.2)
    return handles, labels


def _seeds(groups: list[Group]) -> str:
    counts = sorted({len(group.done) for group in groups})
    return f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]}–{counts[-1]}"


def training_curves(material: Material) -> Figure | None:
    """Draw the validation error that decides and sparsity over epochs, one column per strategy, events marked."""
    curves = [(group, _histories(material, group)) for group in material.shown_groups()]
    curves = [(group, runs) for group, runs in curves if runs]
    if not curves:
        return None
    across, bands = min(len(curves), _ACROSS), -(-len(curves) // _ACROSS)
    with style():
        figure = Figure(figsize=(max(4.2, 2.5 * across + 0.6), 4.4 * bands), layout="constrained")
        axes = figure.subplots(
            2 * bands, across, sharex=True, sharey="row", squeeze=False,
            gridspec_kw={"height_ratios": (1.6, 1) * bands},
        )  # fmt: skip
        errors, sparsities = axes[::2], axes[1::2]
        for axis in (*errors.ravel()[len(curves) :], *sparsities.ravel()[len(curves) :]):
            axis.set_axis_off()
        for (group, runs), error, sparsity in zip(curves, errors.ravel(), sparsities.ravel(), strict=False):
            _curve(error, sparsity, group, runs)
            sparsity.set_xlabel("epoch")
            sparsity.tick_params(labelbottom=True)
            tidy(error)
            tidy(sparsity)
        level = material.controls.get("control_persistence_validation_mse")
        if level is not None:
            for error in errors.ravel()[: len(curves)]:
                error.axhline(level, color=QUIET, lw=0.9, ls=(0, (4, 3)), zorder=1)
            errors[0, 0].annotate("no change", (1, level), xycoords=("axes fraction", "data"), xytext=(-2, 3),
                                  textcoords="offset points", ha="right", fontsize=7.5, color=QUIET)  # fmt: skip
        names = {ERRORS[_deciding(history)] for _, runs in curves for history, *_ in runs}
        name = names.pop() if len(names) == 1 else "validation error"
        for row in errors[:, 0]:
            row.set_yscale("log")
            row.set_ylabel(f"{name} (log)")
        lowest = min(axis.get_ylim()[0] for axis in sparsities[:, 0])
        limits = [axis.get_ylim() for axis in errors[:, 0]]
        for error, sparsity in zip(errors[:, 0], sparsities[:, 0], strict=True):
            sparsity.set_ylabel("sparsity (%)")
            sparsity.set_ylim(min(-3, lowest), 103)
            error.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
            log_ticks(error)
    return figure


def _on_study_base(sparsity: Any, row: pd.Series) -> Any:
    """Sparsities on the model's own base as one on the study's; as it is where that is not known."""
    own, common = row.get("sparsity", math.nan), row.get("study_sparsity", math.nan)
    return 1 - (1 - sparsity) * (1 - common) / (1 - own) if own < 1 and common == common else sparsity


def _histories(material: Material, group: Group) -> list[tuple[pd.DataFrame, list[int], float]]:
    found = []
    for run_id, row in group.done.iterrows():
        record = material.store.record(str(run_id), network=False)
        history = pd.DataFrame(record.history)
        if history.empty or "validation_mse" not in history:
            continue
        history["sparsity"] = _on_study_base(history["sparsity"], row)
        history["error"] = history[_deciding(history)]
        events = sorted({int(epoch) for epoch in record.events.get("epoch", [])})
        found.append((history, events, float(row.get("epoch", math.nan))))
    return found


def _deciding(history: pd.DataFrame) -> str:
    return "validation_rows" if "validation_rows" in history else "validation_mse"


def _curve(error: Any, sparsity: Any, group: Group, runs: list[tuple[pd.DataFrame, list[int], float]]) -> None:
    shade = colour(group.strategy)
    for event in sorted({epoch for _, events, _ in runs for epoch in events}):
        for axis in (error, sparsity):
            axis.axvline(event, color="#c3c8ce", lw=0.7, zorder=0)
    for k, (history, _, kept) in enumerate(runs):
        alpha = 1.0 if k == 0 else 0.4
        error.plot(history["epoch"], history["error"], color=shade, lw=1.3 if k == 0 else 0.9, alpha=alpha)
        sparsity.step(history["epoch"], 100 * history["sparsity"], where="mid", color=shade, alpha=alpha, lw=1.3)
        at = history.loc[history["epoch"] == kept]
        if len(at):
            error.plot(at["epoch"], at["error"], "o", ms=5.5, color=shade, mec="white", mew=0.9, zorder=6)
            sparsity.plot(at["epoch"], 100 * at["sparsity"], "o", ms=5.5, color=shade, mec="white", mew=0.9, zorder=6)
    panel_title(error, group.label, f"{len(runs)} seed{'s' if len(runs) > 1 else ''}, ● kept epoch")
