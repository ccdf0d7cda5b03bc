"""The study that trains a chosen setting once more, on all training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dash_hpc.errors import UsageError
from dash_hpc.study.schema import PARTS, Study
from dash_hpc.study.sources import DATA_KINDS
from dash_hpc.study.strategies import STRATEGIES

__all__ = ["refit"]


def refit(spec: Mapping[str, Any], *, name: str, base: Path, seeds: Sequence[int], epochs: int) -> Study:
    """Return the study of the final fit after cross-validation.

    All trajectories train. Nothing is left to stop early or to keep the best epoch by, so that each run trains for
    ``epochs`` epochs (a strategy of several phases: for all of them) and keeps the last one; its validation error is
    that of the training data.

    Parameters
    ----------
    spec : mapping
        Of a run of the chosen setting, whichever fold.
    name : str
        Of the study.
    base : Path
        Folder that relative paths of the data start from.
    seeds : sequence of int
    epochs : int
        What the runs of the folds say: the mean epoch that they kept.

    Raises
    ------
    UsageError
        The run was not one of a cross-validation.
    """
    validation = spec["data"].get("validation")
    if not isinstance(validation, Mapping) or "folds" not in validation:
        raise UsageError(
            "a final fit belongs to cross-validation: say validation = { folds = 5 } in [data] of the study; without "
            "folds, the chosen runs have a validation part that their epoch was kept by"
        )
    parts = {part: {key: value for key, value in spec[part].items() if value is not None} for part in PARTS}
    parts["data"]["validation"] = {**validation, "fold": "all"}
    parts["training"] |= {"early_stop": 0, "keep": "last"}
    options = STRATEGIES[spec["strategy"]["name"]](**{k: v for k, v in spec["strategy"].items() if k != "name"})
    if len(options.phases(parts["training"])) == 1:
        parts["training"]["epochs"] = epochs
    about = {"name": name, "description": "final fit on all training data of the setting chosen by cross-validation"}
    if DATA_KINDS[spec["data"]["kind"]].names_files:
        about["base"] = str(base)
    return Study.model_validate(
        {"study": about, **parts, "sweep": {"seeds": list(seeds)}, "strategy": [dict(spec["strategy"])]}
    )
