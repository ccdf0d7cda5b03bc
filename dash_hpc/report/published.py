"""Published results that a reader will want beside their own, each with its source and how it was obtained.

They stand in one file of the package, ``published.toml``, by the data that they are for: beside other data they would
compare unlike things, and are not shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import tomllib

__all__ = ["PublishedRow", "citation", "published_of", "published_rows"]

_EYE = ("figure", "both")  # how accuracy was read off a figure


@dataclass(frozen=True)
class PublishedRow:
    """One strategy's published figures and how they were obtained.

    ``names`` are the strategies here that they are for, ``label`` what the paper calls it; sparsity and balanced
    accuracy are shares, each with the s.d. that was published; None where a figure could not be had.
    """

    names: tuple[str, ...]
    label: str
    tag: str
    how: str
    sparsity: float | None = None
    sparsity_sd: float | None = None
    balanced_accuracy: float | None = None
    balanced_accuracy_sd: float | None = None
    mse: float | None = None

    @property
    def texts(self) -> tuple[str, str, str]:
        """Sparsity, balanced accuracy and error as a table has them; ≈ where they were read off a figure."""
        about = "≈ " if self.tag in _EYE else ""
        return (
            "–" if self.sparsity is None else f"{'≈ ' if self.tag == 'figure' else ''}{100 * self.sparsity:g} %",
            "–" if self.balanced_accuracy is None else f"{about}{self.balanced_accuracy:.3f}",
            "–" if self.mse is None else f"{self.mse:.1e}".replace("e-0", "e-"),
        )


@lru_cache(maxsize=1)
def _file() -> dict[str, Any]:
    return tomllib.loads(files("dash_hpc.report").joinpath("published.toml").read_text(encoding="utf-8"))


def citation() -> str:
    """Where all of it was published."""
    return str(_file()["citation"])


def published_rows(spec: Mapping[str, Any]) -> tuple[PublishedRow, ...]:
    """Return what was published for this study's data: the same set with the same noise, else nothing."""
    data = spec.get("data", {})
    found = next((one for one in _file()["set"] if _same(one["data"], data)), None)
    how = _file()["how"]
    return () if found is None else tuple(_row(row, how) for row in found["row"])


def published_of(strategy: str, rows: tuple[PublishedRow, ...]) -> PublishedRow | None:
    """Return of the rows the one for a strategy of that name."""
    return next((row for row in rows if strategy in row.names), None)


def _row(row: Mapping[str, Any], how: Mapping[str, str]) -> PublishedRow:
    shares = ("sparsity", "sparsity_sd", "balanced_accuracy", "balanced_accuracy_sd")
    values = {key: row[key] / 100 for key in shares if key in row}
    return PublishedRow(
        tuple(row["strategies"]), row["label"], row["how"], how[row["how"]], mse=row.get("mse"), **values
    )


def _same(wanted: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    """Whether the data are those of the set: nothing that changes the prior or the starts may stand beside."""
    if any(data.get(key) for key in ("prior_withheld", "prior_flipped", "prior_variant", "starts", "validation")):
        return False
    for key, value in wanted.items():
        own = data.get(key)
        if isinstance(value, str) and own != value:
            return False
        if isinstance(value, float) and not (isinstance(own, (int, float)) and abs(own - value) < 1e-9):
            return False
    return True
