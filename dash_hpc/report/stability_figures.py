"""Reliability of edges over seeds: whether edges that more runs have are real more often."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dash_hpc.report.material import Material
from dash_hpc.report.stability import StabilityRow, stability
from dash_hpc.report.style import QUIET, colour, marker, panel_title, style, tidy

__all__ = ["CAPTION", "TITLE", "reliability_curves"]

TITLE = "Are edges that more seeds have real more often?"
CAPTION = (
    "Edges by the share of the seeds that have them, and how many of them the reference has: on the dashed line the "
    "share of seeds means what it says. Small numbers count pairs; pairs that no seed has stand at 0. r is the "
    "correlation of effects between seeds: without it, an edge's place in the weights is luck, however well the model "
    "predicts."
)
_ACROSS = 4


def reliability_curves(material: Material) -> Figure | None:
    """Draw the share of real edges against the share of seeds that have them, a panel per strategy."""
    rows = [row for row in stability(material) if row.calibration is not None]
    if not rows:
        return None
    across = min(_ACROSS, len(rows))
    down = -(-len(rows) // across)
    with style():
        figure = Figure(figsize=(2.65 * across + 0.4, 2.2 * down + 0.3), layout="constrained")
        axes = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for axis in axes.ravel()[len(rows) :]:
            axis.set_axis_off()
        for axis, row in zip(axes.ravel(), rows, strict=False):
            _panel(axis, row)
        for axis in axes[:, 0]:
            axis.set_ylabel("share that is real")
        for k in range(across):
            bottom = max(r for r in range(down) if r * across + k < len(rows))
            axes[bottom, k].set_xlabel("share of seeds")
            axes[bottom, k].tick_params(labelbottom=True)
    return figure


def _panel(axis: Any, row: StabilityRow) -> None:
    found = row.calibration
    if found is None:
        return
    axis.plot([0, 1], [0, 1], color=QUIET, lw=0.9, ls=(0, (4, 3)), zorder=1)
    shade = colour(row.strategy)
    axis.plot(found.probability, found.share, color=shade, lw=1.0, alpha=0.6, zorder=2)
    axis.plot(found.probability, found.share, marker(row.strategy), color=shade, ms=5, zorder=3)
    for x, y, n in zip(found.probability, found.share, found.count, strict=True):
        axis.annotate(f"{n:,}", (x, y), xytext=(0, 5), textcoords="offset points", ha="center", fontsize=6.5,
                      color=QUIET)  # fmt: skip
    axis.set_xlim(-0.08, 1.08)
    axis.set_ylim(-0.05, 1.12)
    r = row.consensus.likeness.correlation
    panel_title(axis, row.strategy, f"r {r:.2f}".replace("-", "−") if np.isfinite(r) else " ")
    tidy(axis, grid="both")
