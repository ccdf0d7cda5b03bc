"""Settings and data levels: what a study varies besides the strategy and the seed, and what it is called.

A setting is one value for each option of a strategy and each key of ``[model]``, ``[solver]``, ``[training]`` and
``[schedule]`` in which its runs differ: that is what may be chosen. A data level is one value for each key of
``[data]`` in which runs differ: errors of two levels do not compare, so nothing is ever chosen across them. Both are
mappings from a column of the table of runs to its value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pandas as pd

from dash_hpc.store import option_column
from dash_hpc.study import STRATEGIES
from dash_hpc.study.count import SCALARS
from dash_hpc.study.models import DEFAULT_FAMILY, MODELS
from dash_hpc.study.sections import Section
from dash_hpc.study.sources import DATA_KINDS

__all__ = [
    "FOLD",
    "Level",
    "axis_label",
    "axis_name",
    "completed",
    "is_section_key",
    "levels",
    "setting_columns",
    "setting_label",
    "setting_name",
    "value_name",
]

#: Which part of the data a run was validated on, where there are folds: of one level, like the seed.
FOLD = "data.validation.fold"
_SECTION_KEY = re.compile(r"(model|solver|training|schedule)\..+")
_DATA_KEY = re.compile(r"data\..+")


@dataclass(frozen=True)
class Level:
    """The runs on one data level: ``values`` has the keys of ``[data]`` that vary in the study, {} where none does."""

    values: Mapping[str, Any]
    runs: pd.DataFrame

    @property
    def name(self) -> str:
        """As ``data.prior_noise = 0.05``; empty where all runs have one level."""
        return setting_name(self.values)


def completed(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the table with what specs leave out at its default: keys that are younger than specs without them."""
    table = runs
    for column, default in _defaults().items():
        if column in runs.columns and (missing := _is_missing(runs[column])).any():
            table = table.assign(**{column: runs[column].astype(object).where(~missing, default).infer_objects()})
    return table


@lru_cache(maxsize=1)
def _defaults() -> dict[str, Any]:
    """Column -> default, of the keys that a spec may lack."""
    sections: list[tuple[str, type[Section]]] = [("data", kind) for kind in DATA_KINDS.values()]
    sections += [("model", family) for family in MODELS.values()] + list(SCALARS.items())
    found = {f"{name}.{key}": model.model_fields[key].default for name, model in sections for key in model.left_out}
    return {column: default for column, default in found.items() if default is not None} | {
        "model.family": DEFAULT_FAMILY
    }


def _is_missing(values: pd.Series) -> pd.Series:
    return values.isna() | (values.astype(str) == "")


def levels(runs: pd.DataFrame) -> list[Level]:
    """Divide runs by their data, in the order in which the levels first appear; one level for runs of one."""
    runs = completed(runs)
    columns = [name for name in runs.columns if _DATA_KEY.fullmatch(str(name)) and name != FOLD]
    varied = [name for name in columns if _texts(runs[name]).nunique() > 1]
    if not varied:
        return [Level({}, runs)]
    parts = runs.groupby([_texts(runs[name]) for name in varied], sort=False)
    return [Level({name: part[name].iloc[0] for name in varied}, part) for _, part in parts]


def setting_columns(runs: pd.DataFrame, strategy: str) -> list[str]:
    """Return the columns that make up a setting of ``strategy``, whose ``runs`` these are.

    First the options in the order of their declaration, then the keys of the sections. Options without a default
    (λ of dash) are always among them: whoever writes a study has to choose them. ``runs`` are as :func:`completed` has
    them.
    """
    declared = STRATEGIES[strategy].model_fields if strategy in STRATEGIES else {}
    columns = []
    for name, info in declared.items():
        column = option_column(name)
        if column in runs.columns and (info.is_required() or _texts(runs[column]).nunique() > 1):
            columns.append(column)
    sections = [str(name) for name in runs.columns if is_section_key(str(name))]
    # What a model family does not have is no value of its key.
    return columns + [name for name in sections if _texts(runs[name][~_is_missing(runs[name])]).nunique() > 1]


def _said(setting: Mapping[str, Any]) -> dict[str, Any]:
    """Without what a model family does not have."""
    return {column: value for column, value in setting.items() if value is not None and value == value and value != ""}


def _symbols() -> dict[str, str]:
    """The letter of each column that has one."""
    return {option_column(key): letter for options in STRATEGIES.values() for key, letter in options.symbols.items()}


def _texts(values: pd.Series) -> pd.Series:
    return values.astype(str)


def is_section_key(column: str) -> bool:
    """Return whether a column of a setting is a key of a section, not an option of the strategy."""
    return _SECTION_KEY.fullmatch(column) is not None


def axis_name(column: str) -> str:
    """Return what a column is called in a study file: ``rewind``, ``model.hidden``."""
    return column.removeprefix("option.")


def axis_label(column: str) -> str:
    """Return what a table or figure writes above the values of a column: ``λ₁``, ``model.hidden``."""
    return _symbols().get(column, axis_name(column))


def value_name(value: Any) -> str:
    """Write a value as short as it can be read."""
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) or type(value).__name__ == "bool_" else str(value)


def setting_name(setting: Mapping[str, Any]) -> str:
    """Write a setting as a sentence has it: ``λ = (0.05, 0.01), score_norm = rank``; empty without anything in it."""
    symbols, setting = _symbols(), _said(setting)
    letters = [value_name(value) for column, value in setting.items() if column in symbols]
    others = [f"{axis_name(c)} = {value_name(value)}" for c, value in setting.items() if c not in symbols]
    named = [symbols[column].rstrip("₀₁₂₃₄₅₆₇₈₉") for column in setting if column in symbols]
    return ", ".join([*([f"{named[0]} = ({', '.join(letters)})"] if letters else []), *others])


def setting_label(strategy: str, setting: Mapping[str, Any]) -> str:
    """Write a strategy with its setting as a table has it: ``dash, score_norm rank (0.05, 0.01)``."""
    symbols, setting = _symbols(), _said(setting)
    letters = [value_name(value) for column, value in setting.items() if column in symbols]
    others = [f"{axis_name(c)} {value_name(value)}" for c, value in setting.items() if c not in symbols]
    return ", ".join([strategy, *others]) + (f" ({', '.join(letters)})" if letters else "")
