"""Named sets of settings: what a study says with ``preset`` instead of key by key.

A preset fills in keys that the study leaves out. Where the study gives one of them otherwise it is refused: then it is
not what the name says. The study that is stored beside the results has the keys themselves, so that it means the same
whatever a later version's preset has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dash_hpc.study.phrases import number_text

__all__ = ["PRESETS", "Conflict", "apply_preset"]

Path = tuple[str | int, ...]

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # Hossain et al., NeurIPS 2024, and their programs where the paper says nothing
    "paper": {
        "data": {"starts": "measured", "time_unit": 1.0},
        "solver": {"method": "dopri5", "rtol": 1e-7, "atol": 1e-9},
        "training": {"v_lr_factor": 1.0, "keep": "best", "criterion": "pairs", "prior_multipliers": True},
        "strategy.dash": {"omega0": "gaussian", "normalise_interactions": False, "score_norm": "paper"},
        "strategy.bioprune": {"omega0": "gaussian", "normalise_interactions": False, "score_norm": "paper"},
        "strategy.imp": {"rewind": "init"},
    },
}
"""By name and section: keys and values. ``strategy.<name>``: of every table of that strategy."""


class Conflict(Exception):
    """A key that the study gives otherwise than its preset; ``path`` is where."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


def apply_preset(raw: dict[str, Any]) -> None:
    """Fill in what the preset of a parsed, not yet validated study has and the study leaves out.

    Nothing happens without a preset, with one that does not exist, and where a section is none: validation says so.

    Raises
    ------
    Conflict
        When the study gives a key of the preset otherwise.
    """
    section = raw.get("study")
    name = section.get("preset") if isinstance(section, Mapping) else None
    for place, keys in PRESETS.get(name, {}).items() if isinstance(name, str) else ():
        for path, table in _tables(raw, place):
            for key, value in keys.items():
                given = table.setdefault(key, value)
                if given not in (value, [value]):
                    raise Conflict(
                        (*path, key),
                        f"preset {name} has {key} = {_told(value)}: leave out {key}, or the preset",
                    )


def _tables(raw: dict[str, Any], place: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    section, _, name = place.partition(".")
    if name:
        tables = raw.get(section)
        for k, table in enumerate(tables if isinstance(tables, list) else ()):
            if isinstance(table, dict) and table.get("name") == name:
                yield (section, k), table
    elif isinstance(table := raw.get(section, {}) if section == "data" else raw.setdefault(section, {}), dict):
        yield (section,), table


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else number_text(value)
