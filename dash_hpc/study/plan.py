"""From a study to its runs: each a plain dictionary with an id made from its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dash_hpc.study.schema import Study
from dash_hpc.study.strategies import STRATEGIES

__all__ = ["RunSpec", "canonical_json", "plan", "run_id"]


@dataclass(frozen=True)
class RunSpec:
    """One run: ``id`` (16 hexadecimal digits) and ``spec``, everything that decides its result.

    ``spec`` has the keys data, data_digest, model, solver, training, schedule, strategy and seed; it is plain
    (JSON-able). Specs of one plan share their common parts, so do not change them in place.
    """

    id: str
    spec: dict[str, Any]


def canonical_json(spec: Mapping[str, Any]) -> str:
    """Return the one JSON text of ``spec``: keys sorted, no spaces, ASCII; NaN and infinity raise ValueError."""
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)


def run_id(spec: Mapping[str, Any]) -> str:
    """Return the id of a run: the first 16 hexadecimal digits of BLAKE2b over its canonical JSON."""
    return hashlib.blake2b(canonical_json(spec).encode()).hexdigest()[:16]


def plan(study: Study, digest: str) -> list[RunSpec]:
    """List all runs of ``study``, longest first.

    Parameters
    ----------
    study : Study
        As loaded by ``load_study``.
    digest : str
        ``dash_hpc.data.digest`` of its data ("" for simulated data), so that changed files make new runs.

    Returns
    -------
    list of RunSpec
        Unpruned runs first (they stay dense to the end and take longest), then the rest; among these in the order
        of the file, seeds varying fastest.
    """
    shared = {**study.settings, "data_digest": digest}
    tables = sorted(study.strategy, key=lambda table: STRATEGIES[table.name].prunes)
    runs = []
    for table in tables:
        for strategy in table.combinations():
            for seed in study.sweep.seeds:
                spec = {**shared, "strategy": strategy, "seed": seed}
                runs.append(RunSpec(run_id(spec), spec))
    return runs
