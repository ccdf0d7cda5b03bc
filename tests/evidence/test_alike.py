"""Regulators that have the same course are named with each other, and no others."""

from __future__ import annotations

import numpy as np

from dash_hpc.evidence.alike import most_alike
from dash_hpc.evidence.decide import ledger_of
from dash_hpc.evidence.rounds import read_network
from dash_hpc.evidence.state import PriorEdges
from tests.evidence.networks import TIMES, block, simulate, state, target

GENES, INPUTS = 20, 8


def test_a_double_is_named() -> None:
    """Gene 1 is gene 0 with a little of its own; -1 times it would do too, here gene 2 is like 1 - gene 3."""
    rng = np.random.default_rng(4)
    found = [target(g, {0: 0.7, 3: 0.6, int(rng.integers(4, INPUTS)): -0.6}) for g in range(INPUTS, GENES)]
    known = state(GENES, found, 0.0)
    start = rng.uniform(0.2, 0.8, (80, GENES))
    start[:, 1] = start[:, 0] + 0.01 * rng.standard_normal(80)
    start[:, 2] = 1 - start[:, 3] + 0.01 * rng.standard_normal(80)
    rates = np.r_[np.zeros(INPUTS), np.ones(GENES - INPUTS)]
    values = simulate(known, rates, start, TIMES)
    prior = np.zeros((GENES, GENES))
    for one in found:
        prior[one.members, one.gene] = 1.0
    edges = PriorEdges.from_matrix(prior, signed=False)
    reading = read_network([block(values + rng.normal(0, 0.02, values.shape))], edges)
    ledger = ledger_of(reading.state)
    gene, correlation = most_alike(reading, ledger, ledger.listed)
    double = np.full(GENES, -1)
    double[[0, 1, 2, 3]] = [1, 0, 3, 2]
    np.testing.assert_array_equal(gene[ledger.listed], double[ledger.regulator[ledger.listed]])
    assert (gene[~ledger.listed] == -1).all()
    assert (correlation[ledger.listed & (ledger.regulator == 0)] > 0.95).all()
    assert (correlation[ledger.listed & (ledger.regulator == 3)] < -0.95).all()
    assert np.isnan(correlation[gene < 0]).all()
