"""Figures of single models: effects matrices beside the reference, predicted against measured trajectories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dash_hpc.errors import DashHpcError
from dash_hpc.evaluation import Confusion, reference_coordinates
from dash_hpc.models import family_of
from dash_hpc.network import among_edges, edge_blocks
from dash_hpc.ops.solver import SolverOptions
from dash_hpc.ops.timeunit import TimeUnit
from dash_hpc.report.material import Material
from dash_hpc.report.style import INK, QUIET, colour, panel_title, style, tidy

__all__ = ["effects_matrices", "trajectories"]

_TRUE, _OTHER = "#005a92", "#f0ac62"
_MOST_NETWORKS = 18
_FEW_PANELS = 9
_ROWS, _SOURCES, _REST = 320, 220, 110  # most cells per panel: targets, regulators of interest, all other genes
_PANEL_GENES, _PANEL_TRAJECTORIES = 6, 3
_LONG = 30  # time points above which single steps are too short to draw one by one
_STRETCHES = 20  # parts into which a long course is averaged
_FINE = 8  # points per predicted step


def effects_matrices(material: Material) -> Figure | None:
    """Draw |D̃| of one model per strategy beside the reference and the prior, genes in one order everywhere.

    Blue cells are edges of the reference (or else of the prior), orange cells are not. Its regulators stand left of
    the line, all other genes right of it. Large matrices are drawn in blocks of genes, each showing its largest effect.
    """
    networks = _networks(material)
    if not networks:
        return None
    dataset = material.dataset
    truth = None if dataset is None else dataset.truth
    prior = None if dataset is None or dataset.prior is None else dataset.prior.motif
    known = {"prior": prior, "truth": truth}
    guide = "in_prior" if truth is None else "in_truth"
    panels: list[_Panel] = []
    if truth is not None:
        panels.append(_Panel("Reference", _cells_of(truth, truth)))
    if prior is not None:
        panels.append(_Panel("Prior", _cells_of(prior, prior if truth is None else truth), truth))
    for title, weights in networks.items():
        panels.append(_Panel(title, _cells_of_model(weights, known, guide), truth))
    n_genes = family_of(weights).n_genes(weights)
    leading = panels[0] if truth is not None or prior is not None else panels[-1]
    rows, columns, n_sources = _order(leading.cells(), n_genes)
    guided = truth is not None or prior is not None
    name = "reference" if truth is not None else "prior"
    with style():
        width = min(len(panels), 3 if len(panels) <= _FEW_PANELS else 4)
        height = -(-len(panels) // width)
        side = 2.75 if width == 4 else 3.5
        figure = Figure(figsize=(side * width, (side + 0.25) * height + 0.3), layout="constrained")
        grid = figure.subplots(height, width, squeeze=False).ravel()
        for axis, panel in zip(grid, panels, strict=False):
            n, tp = _matrix(axis, panel, rows, columns, n_sources)
            panel_title(axis, panel.title, panel.subtitle(n, tp, n_genes))
        for axis in grid[len(panels) :]:
            axis.set_axis_off()
        for k, axis in enumerate(grid[: len(panels)]):
            if k % width == 0:
                axis.set_ylabel("targets")
            if k + width >= len(panels):
                axis.set_xlabel(f"regulators of the {name} | other genes" if guided else "regulators")
        if guided:
            handles = [Line2D([], [], marker="s", ls="", ms=7, color=shade) for shade in (_TRUE, _OTHER)]
            figure.legend(handles, [f"edge of the {name}", f"not in the {name}"], loc="outside upper right",
                          ncols=2, handletextpad=0.2)  # fmt: skip
    return figure


def _networks(material: Material) -> dict[str, Mapping[str, np.ndarray]]:
    found: dict[str, Mapping[str, np.ndarray]] = {}
    first = material.leading
    groups = sorted(material.shown_groups(), key=lambda group: (group.strategy != first, group.strategy == "none"))
    # Of many panels a title has no room for a setting; the tables have it.
    many = len(groups) > _FEW_PANELS - 2
    for group in groups[:_MOST_NETWORKS]:
        run_id = material.main_run if group is material.chosen else material.best_run([group])
        if run_id is not None:
            tensors = {name: value for name, value in material.store.weights(run_id).items() if name != "masks"}
            name = group.strategy if many else group.label
            found[f"{name}, seed {int(group.runs.loc[run_id, 'seed'])}"] = tensors
    return found


class _Cells(NamedTuple):
    """Some edges to draw: target and regulator (E,), size of the effect (E,), and which are edges of the guide (E,)."""

    target: np.ndarray
    regulator: np.ndarray
    size: np.ndarray
    true: np.ndarray


@dataclass(frozen=True)
class _Panel:
    """One network to draw, whose edges come in parts, and the reference that it is compared with."""

    title: str
    cells: Callable[[], Iterable[_Cells]]
    truth: Any = None

    def subtitle(self, n: int, tp: int, n_genes: int) -> str:
        """Say what ``n`` edges, ``tp`` of them in the reference, are worth."""
        text = f"{n:,} edges"
        if self.truth is None:
            return text
        positive = len(reference_coordinates(self.truth)[0])
        counts = Confusion(tp, n - tp, positive - tp, n_genes**2 - n - positive + tp)
        return f"{text} · TPR {counts.tpr:.2f} · TNR {counts.tnr:.2f}"


def _cells_of(network: Any, guide: Any) -> Callable[[], Iterable[_Cells]]:
    """The edges of a prior or reference."""
    target, regulator = reference_coordinates(network)
    true = among_edges(guide, target, regulator)
    return lambda: [_Cells(target, regulator, np.ones(len(target), dtype=np.float32), true)]


def _cells_of_model(
    weights: Mapping[str, np.ndarray], known: Mapping[str, Any], guide: str
) -> Callable[[], Iterable[_Cells]]:
    """The edges of a model; without a guide all are drawn alike."""

    def cells() -> Iterator[_Cells]:
        for part in edge_blocks(weights, dtype=np.float32, **known):
            true = getattr(part, guide)
            true = np.ones(len(part), dtype=bool) if true is None else true
            yield _Cells(part.target, part.regulator, np.abs(part.share), true)

    return cells


def _order(parts: Iterable[_Cells], n_genes: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Genes as rows and columns: busiest regulators first, targets behind the first regulator that acts on them."""
    drawn = [(part.target[part.size > 0], part.regulator[part.size > 0]) for part in parts]
    out_degree = sum((np.bincount(regulator, minlength=n_genes) for _, regulator in drawn), np.zeros(n_genes, int))
    columns = np.argsort(-out_degree, kind="stable")
    place = np.argsort(columns)
    first = np.full(n_genes, n_genes)
    for target, regulator in drawn:
        np.minimum.at(first, target, place[regulator])
    return np.argsort(first, kind="stable"), columns, int(np.count_nonzero(out_degree))


def _edges(n: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, n, min(n, most) + 1).astype(int)[:-1])


def _matrix(axis: Any, panel: _Panel, rows: np.ndarray, columns: np.ndarray, n_sources: int) -> tuple[int, int]:
    """Draw a network; return the number of its edges, and of those that are edges of the guide."""
    n_genes = len(rows)
    row_starts = _edges(n_genes, _ROWS)
    left = _edges(n_sources, _SOURCES) if n_sources else np.array([], dtype=int)
    right = n_sources + _edges(n_genes - n_sources, _REST) if n_sources < n_genes else np.array([], dtype=int)
    column_starts = np.concatenate([left, right])
    row_of = np.searchsorted(row_starts, np.argsort(rows), side="right") - 1
    column_of = np.searchsorted(column_starts, np.argsort(columns), side="right") - 1

    image = np.ones((len(row_starts), len(column_starts), 3))
    strengths = np.zeros((2, *image.shape[:2]), dtype=np.float32)  # of edges that are not in the guide, and that are
    flat = strengths.reshape(-1)
    positive: list[np.ndarray] = []
    n = tp = 0
    for cells in panel.cells():
        n, tp = n + len(cells.true), tp + int(np.count_nonzero(cells.true))
        positive.append(cells.size[cells.size > 0])
        place = row_of[cells.target] * len(column_starts) + column_of[cells.regulator]
        np.maximum.at(flat, place + cells.true * strengths[0].size, cells.size)
    sizes = np.concatenate(positive)  # of one part or more
    del positive  # of a dense model a number for every pair
    scale = float(np.quantile(sizes, 0.95, overwrite_input=True)) if sizes.size else 1.0
    # What is not in the reference first, so that a true edge in the same block stays visible.
    for strength, shade, least in ((strengths[0], _OTHER, 0.35), (strengths[1], _TRUE, 0.6)):
        drawn = strength > 0
        depth = least + (1 - least) * np.sqrt(np.clip(strength[drawn] / scale, 0, 1))
        image[drawn] = 1 - depth[:, None] * (1 - np.array(to_rgb(shade)))
    axis.imshow(image, interpolation="nearest", aspect="auto")
    if 0 < len(left) < len(column_starts):
        axis.axvline(len(left) - 0.5, color=INK, lw=0.8)
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_visible(True)
        side.set_color("#c3c8ce")
    return n, tp


def trajectories(material: Material) -> Figure | None:
    """Draw measured and predicted expression of several genes, and predicted against measured change of all.

    Test data, or validation data where there are none. Every predicted step starts from a measured state; the
    dashed line runs from the first one to the end without looking at the data again.
    """
    if material.dataset is None or material.main_run is None:
        return None
    course, what = material.dataset.test, "test"
    if course is None or len(course.pairs()) == 0:
        course, what = material.dataset.validation, "validation"
    if course is None or len(course.pairs()) == 0:
        return None
    weights = {name: value for name, value in material.store.weights(material.main_run).items() if name != "masks"}
    unit = TimeUnit(material.dataset.time_unit)
    weights, solver = family_of(weights).rescaled(weights, unit.size), unit.solver(material.spec["solver"])

    def solve(start: np.ndarray, interval: np.ndarray) -> np.ndarray:
        return _solve(weights, start, unit.intervals(interval), solver)

    group = next(group for group in material.groups if material.main_run in group.runs.index)
    shade = colour(group.strategy)
    pairs = course.pairs()
    try:
        end = solve(pairs.y0, pairs.t1 - pairs.t0)
    except DashHpcError:
        return None
    shown = np.unique(pairs.trajectory)[: 1 if len(pairs) > 100 else _PANEL_TRAJECTORIES]
    genes = _different_genes(pairs, shown)
    with style():
        figure = Figure(figsize=(11.2, 4.6), layout="constrained")
        grid = figure.add_gridspec(2, 5, width_ratios=(1, 1, 1, 0.06, 1.55))
        first = None
        for k, gene in enumerate(genes):
            axis = figure.add_subplot(grid[k // 3, k % 3], sharex=first)
            first = first or axis
            for trajectory in shown:
                _steps(axis, solve, pairs, end, int(trajectory), int(gene), shade)
            panel_title(axis, course.genes[gene])
            tidy(axis)
            if k >= 3:
                axis.set_xlabel("time")
            if k % 3 == 0:
                axis.set_ylabel("expression")
        _change(figure.add_subplot(grid[:, 4]), pairs, end, what)
        long = any(np.count_nonzero(pairs.trajectory == trajectory) > _LONG for trajectory in shown)
        step: dict[str, Any] = {"marker": "o", "ls": "", "ms": 4} if long else {"lw": 1.6}
        handles = [
            Line2D([], [], marker="o", ls="", ms=5, color="#b9bfc7" if long else INK),
            Line2D([], [], color=shade, **step),
            Line2D([], [], color=shade, lw=1.1, ls=(0, (2, 2))),
        ]
        labels = ["measured", f"{group.label}: from each measured state", "from the first state only"]
        if not long:
            handles.append(Line2D([], [], color="#b0b5bc", lw=1.0))
            labels.append("no change")
        figure.legend(handles, labels, loc="outside upper left", ncols=4, handletextpad=0.5)
    return figure


def _different_genes(pairs: Any, trajectories: np.ndarray) -> np.ndarray:
    """Genes to draw, chosen from the measurements alone: large changes, and courses unlike one another."""
    mine = np.isin(pairs.trajectory, trajectories)
    if mine.sum() > _LONG * len(trajectories):
        # Steps of long, noisy courses are mostly noise: compare their levels, averaged over stretches of time.
        courses = np.stack([part.mean(axis=0) for part in np.array_split(pairs.y0[mine], _STRETCHES)])
        courses = courses - courses.mean(axis=0)
    else:
        courses = np.nan_to_num((pairs.y1 - pairs.y0)[mine])
    size = np.linalg.norm(courses, axis=0)
    pool = np.argsort(-size, kind="stable")[: max(_PANEL_GENES, len(size) // 8)]
    courses = courses[:, pool] / np.maximum(size[pool], 1e-300)
    likeness = np.abs(courses.T @ courses)
    chosen = [0]
    while len(chosen) < min(_PANEL_GENES, len(pool)):
        nearest = likeness[:, chosen].max(axis=1)
        nearest[chosen] = np.inf
        chosen.append(int(np.argmin(nearest)))
    return np.sort(pool[chosen])


def _solve(weights: Any, y0: np.ndarray, dt: np.ndarray, solver: SolverOptions) -> np.ndarray:
    solution = family_of(weights).predict_task(weights, y0, dt, solver).run()
    return np.where(np.asarray(solution.ok)[:, None], np.asarray(solution.y1, dtype=float), np.nan)


def _steps(
    axis: Any,
    solve: Callable[[np.ndarray, np.ndarray], np.ndarray],
    pairs: Any,
    end: np.ndarray,
    trajectory: int,
    gene: int,
    shade: str,
) -> None:
    mine = np.flatnonzero(pairs.trajectory == trajectory)
    t0, t1 = pairs.t0[mine], pairs.t1[mine]
    long = len(mine) > _LONG
    if long:
        axis.plot(t1, end[mine, gene], "o", ms=1.8, color=shade, mew=0, zorder=4)
    else:
        part = np.linspace(0, 1, _FINE + 1)[1:]
        fine = solve(np.repeat(pairs.y0[mine], _FINE, axis=0), ((t1 - t0)[:, None] * part).ravel())[:, gene]
        fine = fine.reshape(len(mine), _FINE)
        for k in range(len(mine)):
            start = pairs.y0[mine[k], gene]
            axis.plot([t0[k], t1[k]], [start, start], color="#b0b5bc", lw=1.0, zorder=1)
            axis.plot(
                np.append(t0[k], t0[k] + (t1[k] - t0[k]) * part), np.append(start, fine[k]), color=shade, zorder=3
            )
    times = np.unique(np.concatenate([t0[:1], t1]))
    if not long:
        times = np.unique(np.concatenate([times, np.linspace(times[0], times[-1], 5 * _FINE)]))
    whole = solve(np.repeat(pairs.y0[mine[:1]], len(times) - 1, axis=0), times[1:] - times[0])
    roll = np.append(pairs.y0[mine[0], gene], whole[:, gene])
    axis.plot(times, roll, color=shade, lw=1.8 if long else 1.1, ls=(0, (2, 2)), zorder=5 if long else 2)
    measured = np.append(pairs.y0[mine[:1], gene], pairs.y1[mine, gene])
    dots: dict[str, Any] = {"ms": 4.5, "color": INK, "mec": "white", "mew": 0.6}
    if long:
        dots = {"ms": 5.0, "color": "#b9bfc7", "mew": 0}  # larger than the prediction upon them
    axis.plot(np.append(t0[0], t1), measured, "o", zorder=3 if long else 4, **dots)


def _change(axis: Any, pairs: Any, end: np.ndarray, what: str) -> None:
    measured, predicted = (pairs.y1 - pairs.y0).ravel(), (end - pairs.y0).ravel()
    usable = np.isfinite(predicted) & np.isfinite(measured)
    measured, predicted = measured[usable], predicted[usable]
    limit = float(np.quantile(np.abs(np.concatenate([measured, predicted])), 0.999)) or 1.0
    bins = np.linspace(-limit, limit, 121)
    counts, _, _ = np.histogram2d(measured, predicted, bins=(bins, bins))
    density = np.where(counts.T > 0, np.log10(counts.T + 1), np.nan)
    axis.pcolormesh(bins, bins, density, cmap="Blues", vmin=-0.4, rasterized=True)
    axis.plot([-limit, limit], [-limit, limit], color=QUIET, lw=0.9)
    axis.axhline(0, color="#b0b5bc", lw=1.0, zorder=0)
    error, still = float(np.mean((predicted - measured) ** 2)), float(np.mean(measured**2))
    share = 1 - error / still if still > 0 else float("nan")
    panel_title(axis, "Change over one step, all genes", f"{what} data: MSE {error:.2e}, no change {still:.2e}")
    axis.text(0.03, 0.97, f"explains {100 * share:.0f} % of the\nmean squared change", transform=axis.transAxes,
              va="top", fontsize=8, color=QUIET)  # fmt: skip
    axis.set_xlabel("measured change")
    axis.set_ylabel("predicted change")
    axis.set_aspect("equal", adjustable="box")
    tidy(axis, grid="both")
