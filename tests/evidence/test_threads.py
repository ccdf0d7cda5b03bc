"""Targets looked at side by side: the same bits for any number of threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dash_hpc.data import DataSet, build
from dash_hpc.errors import UsageError
from dash_hpc.evidence.decide import EvidenceOptions
from dash_hpc.evidence.finding import Finding, find_network
from dash_hpc.evidence.model import Fitted, fit_model


@pytest.fixture(scope="module")
def dataset() -> DataSet:
    spec = {
        "kind": "simulate", "genes": 40, "regulators": 8, "edges": 60, "trajectories": 34, "test_trajectories": 2,
        "times": [0.0, 2.0, 3.0, 7.0, 9.0], "seed": 7, "validation": 1 / 16,
        "expression_noise": 0.02, "prior_noise": 0.1,
    }  # fmt: skip
    return build(spec, seed=3, base=Path())


def numbers(found: Finding, fitted: Fitted) -> list[np.ndarray]:
    arrays = [found.reading.rates, fitted.rates]
    for target in found.reading.state.targets.values():
        edges = target.candidates
        arrays += [target.members, target.coefficients, target.pairs, target.pair_coefficients]
        arrays += [edges.prior, edges.log_bf, edges.score, edges.information, edges.expected]
        arrays += [np.array([target.offset, target.drive_variance, target.other_variance, target.excess])]
    for drive in fitted.drives.values():
        arrays += [drive.regulators, drive.slopes, drive.powers, np.array([drive.level, drive.gain, drive.gained])]
    return arrays


def test_same_bits_for_any_number_of_threads(dataset: DataSet) -> None:
    def read(threads: int) -> list[np.ndarray]:
        found = find_network(dataset, EvidenceOptions(), threads)
        return numbers(found, fit_model(found.reading, found.ledger, found.decision, threads))

    alone = read(1)
    assert sum(array.size for array in alone) > 1000
    for threads in (2, 5):
        for one, other in zip(alone, read(threads), strict=True):
            assert np.array_equal(one, other, equal_nan=True)


def test_no_threads_are_refused(dataset: DataSet) -> None:
    with pytest.raises(UsageError, match="threads must be 1 or more"):
        find_network(dataset, EvidenceOptions(), 0)
