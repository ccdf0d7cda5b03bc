"""What differs between two runs, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import issparse

from dash_hpc.store.publish import canonical_json
from dash_hpc.store.runfile import Columns, RunRecord, is_time, read_run

__all__ = ["compare_records", "compare_runs"]


def compare_runs(path_a: Path | str, path_b: Path | str) -> list[str]:
    """Return the differences between two run files, bit for bit, apart from provenance and timing.

    An empty list means: same spec, status, history, events, metrics and network.
    """
    return compare_records(read_run(path_a), read_run(path_b))


def compare_records(a: RunRecord, b: RunRecord) -> list[str]:
    """Return the differences between two whole records, as :func:`compare_runs` does."""
    differences = [
        f"{name}: {one!r} and {two!r}"
        for name in ("run_id", "status", "reason", "complete", "stop_reason", "notes")
        if (one := getattr(a, name)) != (two := getattr(b, name))
    ]
    if canonical_json(a.spec) != canonical_json(b.spec):
        differences.append("spec differs")
    for name in ("history", "events"):
        differences += _compare_arrays(name, _timeless(getattr(a, name)), _timeless(getattr(b, name)))
    one, two = ({key: np.asarray(value) for key, value in record.metrics.items()} for record in (a, b))
    differences += _compare_arrays("metrics", one, two)
    if (a.network is None) != (b.network is None):
        differences.append("network: only one of the two has one")
    elif a.network is not None and b.network is not None:
        if (a.network.epoch, a.network.genes) != (b.network.epoch, b.network.genes):
            differences.append(f"network: kept epochs {a.network.epoch} and {b.network.epoch}, or genes, differ")
        differences += _compare_arrays("network", a.network.weights, b.network.weights)
        differences += _compare_arrays("mask", a.network.masks, b.network.masks)
    if (a.evidence is None) != (b.evidence is None):
        differences.append("evidence: only one of the two has some")
    elif a.evidence is not None and b.evidence is not None:
        differences += _compare_arrays("evidence", a.evidence.edges, b.evidence.edges)
        if canonical_json(a.evidence.facts) != canonical_json(b.evidence.facts):
            differences.append("evidence: its facts differ")
    return differences


def _timeless(columns: Columns) -> Columns:
    return {key: values for key, values in columns.items() if not is_time(key)}


def _compare_arrays(what: str, a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> list[str]:
    differences = [f"{what}: {name} is in one only" for name in sorted(a.keys() ^ b.keys())]
    for name in sorted(a.keys() & b.keys()):
        one, two = (_plain(values[name]) for values in (a, b))
        if one.dtype != two.dtype or one.shape != two.shape:
            differences.append(f"{what}: {name} is {one.dtype}{one.shape} and {two.dtype}{two.shape}")
        elif one.dtype == object:
            if canonical_json(one.tolist()) != canonical_json(two.tolist()):
                differences.append(f"{what}: {name} differs")
        elif one.tobytes() != two.tobytes():
            differences.append(f"{what}: {name} differs in {_count_unequal(one, two)} of {one.size} values")
    return differences


def _plain(values: Any) -> np.ndarray:
    """As one array; of a compressed matrix the coordinates and values of its entries."""
    if not issparse(values):
        return np.asarray(values)
    row, col = values.tocoo().coords
    return np.rec.fromarrays([row, col, values.data])


def _count_unequal(one: np.ndarray, two: np.ndarray) -> int:
    size = one.dtype.itemsize
    pairs = (np.frombuffer(array.tobytes(), dtype=np.uint8).reshape(-1, size) for array in (one, two))
    return int(np.any(np.not_equal(*pairs), axis=1).sum())
