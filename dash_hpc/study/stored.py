"""Specs that come back from a folder of results, which may be anybody's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from dash_hpc.errors import StudyError
from dash_hpc.study.problems import path_text, problems
from dash_hpc.study.schema import Study

__all__ = ["check_spec"]

_PARTS = ("data", "model", "solver", "training", "schedule")


def check_spec(spec: Mapping[str, Any]) -> None:
    """Check that a run's spec is one that a study can have: whole, and within the same bounds.

    To be called before anything is made after it: what a study file may leave out stands in a spec.

    Raises
    ------
    StudyError
        One line with the key.
    """
    strategy = spec.get("strategy")
    lists = [key for key, value in strategy.items() if isinstance(value, list)] if isinstance(strategy, Mapping) else []
    if lists:
        raise StudyError(f"not the spec of a run: strategy.{lists[0]} is a list, and a run has one value of it")
    raw = {
        "study": {"name": "stored"},
        **{part: spec[part] for part in _PARTS if part in spec},
        "sweep": {"seeds": [spec.get("seed")]},
        "strategy": [strategy],
    }
    try:
        study = Study.model_validate(raw)
    except ValidationError as error:
        first = problems(error, raw)[0]
        raise StudyError(f"not the spec of a run: {path_text(first.path)}: {first.message}") from error
    whole = {**study.settings, "strategy": next(study.strategy[0].combinations())}
    for part, keys in whole.items():
        if part not in spec or (absent := [key for key in keys if key not in spec[part]]):
            raise StudyError(f"not the spec of a run: {part if part not in spec else f'{part}.{absent[0]}'} is missing")
