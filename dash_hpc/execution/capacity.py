"""Whether one run of a study can fit into this machine at all, judged from sizes before anything is allocated.

This is a floor, which the forecast (measured) lies above: a run that does not pass it would end in the middle of an
allocation, or be killed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dash_hpc.errors import StudyError
from dash_hpc.models.registry import family_of_spec
from dash_hpc.store import in_bytes
from dash_hpc.study import Study

__all__ = ["machine_bytes", "require_memory"]

_COPIES = 4  # of the weights: themselves, their gradient, and the two moments of Adam
_SPARSE = {"structured"}  # strategies that make nothing of size hidden × genes
_CGROUP_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def require_memory(study: Study, largest: Mapping[str, Any], genes: int, limit: int | None = None) -> None:
    """Refuse a study whose largest run needs more than all the memory of this machine, ``limit`` bytes if given.

    ``largest`` has the sections of that run's spec.

    Raises
    ------
    StudyError
        With what needs how much, what there is, and the key to make smaller.
    """
    from dash_hpc.data import made_bytes

    limit = machine_bytes() if limit is None else limit
    model, training = largest["model"], largest["training"]
    size = np.dtype(model["dtype"]).itemsize
    needs = []
    if any(table.name not in _SPARSE for table in study.strategy):
        entries = family_of_spec(model).prunable_count(model, genes)
        # Of PHOENIX 4: the rest is the study's own numbers, which can be made smaller.
        factor = f"{entries / (model['hidden'] * genes):g}"
        text = f"weights of {factor} × model.hidden × genes = {factor} × {model['hidden']:,} × {genes:,}"
        needs.append((_COPIES * entries * size, text))
    # A strategy may have a τ of its own, as pinn has.
    if min(training["tau"], *(min(table.axes.get("tau", (1.0,))) for table in study.strategy)) < 1:
        states = training["prior_points"] * genes * size
        text = f"states of training.prior_points × genes = {training['prior_points']:,} × {genes:,}"
        needs.append((states, text))
    if (made := made_bytes(largest["data"])) is not None:
        needs.append(made)
    if sum(need for need, _ in needs) > limit:
        most, what = max(needs)
        total = in_bytes(sum(need for need, _ in needs))
        raise StudyError(
            f"study {study.name}: a run needs at least {total} of memory, {in_bytes(most)} of it for {what}; this "
            f"machine has {in_bytes(limit)}: make these numbers smaller, or use a larger machine"
        )


def machine_bytes() -> int:
    """Return the memory that this process may use: the machine's, or what its control group has of it."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUP_FILES:
        try:
            found.append(int(Path(path).read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return min(found)
