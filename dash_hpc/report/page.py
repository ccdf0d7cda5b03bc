"""What the pages have in common: their templates, how values are written there, figures that stand inside."""

from __future__ import annotations

import base64
import re
from functools import lru_cache, partial
from math import isfinite
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dash_hpc.shown import LABEL, LINE, NAME, shown, shown_block

__all__ = ["embedded", "environment"]

_TEXT = 20_000  # letters of one text: more than any description has


def embedded(title: str, caption: str, svg: bytes) -> dict[str, Any]:
    """Return a figure as the template ``picture`` has it, its SVG inside."""
    source = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    return {"title": title, "caption": caption, "source": Markup(source), "width": _natural_width(svg)}


def _natural_width(svg: bytes) -> int:
    """Width in CSS pixels at which the figure's letters have the size of the page's captions."""
    found = re.search(rb'<svg[^>]*? width="([\d.]+)pt"', svg)
    return round(float(found[1]) * 96 / 72 * 1.15) if found else 1000


def _plain(value: Any) -> Any:
    """What the page shows of a value: every text that the template does not know for markup goes through here."""
    return shown_block(value, _TEXT) if isinstance(value, str) and not isinstance(value, Markup) else value


def _nats(value: float, digits: int = 1, sign: str = "+") -> str:
    """A number with its sign; "–" where there is none, or where an edge is out of the question."""
    return f"{value:{sign}.{digits}f}".replace("-", "−") if isfinite(value) else "–"


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the templates; every text that goes into one is shown as text, in letters that cannot do harm."""
    environment = Environment(
        loader=PackageLoader("dash_hpc.report", "templates"),
        autoescape=True,
        finalize=_plain,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name, most in (("name", NAME), ("label", LABEL), ("line", LINE)):
        environment.filters[name] = partial(shown, most=most)
    environment.filters["nats"] = _nats
    return environment
