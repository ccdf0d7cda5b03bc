"""Specs that come back from a folder of results, which may be anybody's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from dash_hpc.errors import StudyError
from dash_hpc.study.problems import path_text, problems
from dash_hpc.study.schema import PARTS, Study

__all__ = ["check_spec"]


def check_spec(spec: Mapping[str, Any]) -> None:
    """Check that a run's spec is one that a study can have: whole, and within the same bounds.

    To be called before anything is made after it: what a study file may leave out stands in a spec.

    Raises
    ------
    StudyError
        One line with the key.
    """
    raw = {
        "study": {"name": "stored"},
        **{part: spec[part] for part in PARTS if part in spec},
        "sweep": {"seeds": [spec.get("seed")]},
        "strategy": [spec.get("strategy")],
    }
    try:
        study = Study.model_validate(raw)
    except ValidationError as error:
        first = problems(error, raw)[0]
        raise StudyError(f"not the spec of a run: {path_text(first.path)}: {first.message}") from error
    swept = {**{part: study.part(part) for part in PARTS}, "strategy": study.strategy[0]}
    if many := [f"{part}.{key}" for part, table in swept.items() for key, v in table.axes.items() if len(v) > 1]:
        raise StudyError(f"not the spec of a run: {many[0]} has many values, and a run has one of it")
    whole = {**study.settings, "strategy": next(study.strategy[0].specs())}
    for part, keys in whole.items():
        if part not in spec or (absent := [key for key in keys if key not in spec[part]]):
            raise StudyError(f"not the spec of a run: {part if part not in spec else f'{part}.{absent[0]}'} is missing")
