"""Calibration: whether edges of a probability are real as often as it says."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dash_hpc.report.style import INK, QUIET, panel_title, style, tidy

__all__ = ["BINS", "CAPTION", "TITLE", "calibration", "calibration_bins"]

TITLE = "Are probabilities kept?"
CAPTION = (
    "Edges by their probability, and how many of them the reference has: on the dashed line a probability means what "
    "it says, below it the evidence was too sure. Small numbers count edges; bars are one standard error. Of edges "
    "that are not listed those below 1 % are left out."
)

#: Edges of the bins of probability: finer where most edges are.
BINS = np.array([0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 1.0])
_FEWEST = 3


def calibration_bins(probability: np.ndarray, in_truth: np.ndarray) -> list[tuple[float, float, int]]:
    """Return (mean probability, share that is real, number) of the edges in each bin that has 3 or more.

    ``probability`` (E,) and ``in_truth`` (E,) bool.
    """
    found = []
    place = np.clip(np.searchsorted(BINS, probability, side="right") - 1, 0, len(BINS) - 2)
    for k in range(len(BINS) - 1):
        inside = place == k
        n = int(inside.sum())
        if n >= _FEWEST:
            found.append((float(probability[inside].mean()), float(in_truth[inside].mean()), n))
    return found


def calibration(evidence: Any, in_truth: np.ndarray | None) -> Figure | None:
    """Draw the share of real edges against their probability, listed and other edges apart; None without a reference.

    Parameters
    ----------
    evidence : Evidence
    in_truth : (E,) bool or None
    """
    if in_truth is None or not len(evidence):
        return None
    edges = evidence.edges
    panels = [
        ("Edges that the prior lists", edges["listed"]),
        ("Other edges", ~edges["listed"]),
    ]
    panels = [(title, chosen) for title, chosen in panels if chosen.any()]
    with style():
        figure = Figure(figsize=(3.6 * len(panels) + 0.4, 3.7), layout="constrained")
        for number, (title, chosen) in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), number + 1)
            axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle="--")
            told: list[tuple[float, float]] = []
            for mean, share, n in calibration_bins(edges["probability"][chosen], in_truth[chosen]):
                low, high = _interval(share, n)
                axes.plot([mean, mean], [low, high], color="#0072b2", linewidth=1.2)
                axes.plot(mean, share, "o", color="#0072b2", markersize=5)
                if all(abs(mean - x) > 0.07 or abs(share - y) > 0.06 for x, y in told):
                    place = (mean + 0.02, share - 0.035 if share > 0.5 else share + 0.015)
                    axes.text(*place, f"{n:,}", fontsize=7, color=INK)
                    told.append((mean, share))
            axes.set_xlim(-0.03, 1.06)
            axes.set_ylim(-0.03, 1.06)
            axes.set_xlabel("probability")
            axes.set_ylabel("share that the reference has" if number == 0 else "")
            tidy(axes, grid="both")
            panel_title(axes, title)
    return figure


def _interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's 68 % interval of a share of n (one standard error)."""
    middle = (share + 0.5 / n) / (1 + 1 / n)
    half = np.sqrt(share * (1 - share) / n + 0.25 / n**2) / (1 + 1 / n)
    return float(middle - half), float(middle + half)
