"""How figures look, and how they become files: one colour per strategy everywhere, equal bytes from equal data."""

from __future__ import annotations

import io
import math
import warnings
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import (
    FixedFormatter,
    FixedLocator,
    FuncFormatter,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from dash_hpc.shown import shown
from dash_hpc.study import STRATEGIES

__all__ = [
    "INK",
    "QUIET",
    "RULE",
    "colour",
    "log_ticks",
    "marker",
    "note",
    "panel_title",
    "power_ticks",
    "render",
    "style",
    "tidy",
]

INK, QUIET, RULE = "#1b1f24", "#5b6470", "#d5d9de"
# Nine hues after Okabe and Ito, in two shapes for eighteen strategies and two more for further ones. Under blindness to
# red, green or blue (Machado et al. 2009) any two lie 16 units of CIE Lab apart or more; a test measures it.
_COLOURS = ("#555c64", "#d55e00", "#0072b2", "#009e73", "#d48ab3", "#e69f00", "#56b4e9", "#4b2a6b", "#7a5a1e")
_MARKERS = ("o", "s", "^", "v")
_UNKNOWN = "#444444"

# Of a line of text in a figure, and lines of one text.
_LETTERS, _LINES = 120, 4

_STYLE: dict[str, Any] = {
    "figure.facecolor": "white",
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8a8f98",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": "#e6e8eb",
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "path",
    "svg.hashsalt": "dash-hpc",
    # A gene called "$x" is not a formula.
    "text.parse_math": False,
}


def style() -> Any:
    """Context manager in which figures are drawn."""
    return matplotlib.rc_context(_STYLE)


def colour(strategy: str) -> str:
    """Colour of a strategy, by its place in the list of strategies; one that is not known here is dark grey."""
    place = _place(strategy)
    return _UNKNOWN if place is None else _COLOURS[place % len(_COLOURS)]


def marker(strategy: str) -> str:
    """Shape of a strategy's points: two strategies of one colour have two shapes."""
    place = _place(strategy)
    return "X" if place is None else _MARKERS[place // len(_COLOURS) % len(_MARKERS)]


def _place(strategy: str) -> int | None:
    return list(STRATEGIES).index(strategy) if strategy in STRATEGIES else None


def tidy(axes: Any, *, grid: str = "y") -> None:
    """Light grid along ``grid`` and short ticks."""
    axes.grid(True, axis=grid)
    axes.tick_params(length=3)


def panel_title(axes: Any, title: str, subtitle: str = "") -> None:
    """Bold title at the left, with a quiet second line when given."""
    axes.set_title(title, pad=18 if subtitle else 8)
    if subtitle:
        axes.text(0, 1.0, subtitle, transform=axes.transAxes, va="bottom", fontsize=8, color=QUIET, clip_on=False)
        axes.texts[-1].set_position((0, 1.02))


def note(axes: Any, text: str) -> None:
    """Say in the middle of empty axes why they are empty."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=QUIET, fontsize=9)
    axes.set_axis_off()


def power_ticks(axis: Any) -> None:
    """Label a logarithmic axis with powers of ten, which matplotlib itself would write as formulas."""
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"10{str(round(math.log10(value))).translate(raised)}"))
    axis.set_minor_formatter(NullFormatter())


def log_ticks(axis: Any) -> None:
    """Readable ticks on a log axis that spans little: whole numbers of the leading digit, not powers of ten alone."""
    low, high = axis.get_ylim()
    if high / low > 30:
        power_ticks(axis.yaxis)
        return
    if high / low < 4:
        ticks = [float(tick) for tick in MaxNLocator(5).tick_values(low, high)]
    else:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axis.yaxis.set_major_locator(FixedLocator(ticks))
    axis.yaxis.set_major_formatter(FixedFormatter([f"{tick:.3g}" for tick in ticks]))
    axis.yaxis.set_minor_locator(NullLocator())


def render(figure: Figure) -> dict[str, bytes]:
    """Return the figure as ``{"png": …, "svg": …}``; equal figures give equal bytes.

    Every text in it is cut to a size that fits, whoever put it there, and shown as :func:`dash_hpc.shown.shown` does.
    """
    files = {}
    for text in figure.findobj(Text):
        text.set_text("\n".join(shown(line, _LETTERS) for line in text.get_text().split("\n", _LINES)))
    with style(), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        FigureCanvasAgg(figure)
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata=metadata, bbox_inches="tight", pad_inches=0.12)
            files[kind] = buffer.getvalue()
    return files
