"""Genes that only stand for the regulators they share with a target, and effects that go through a regulator."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.evidence.indirect import indirect_effects
from dash_hpc.evidence.rounds import read_network
from dash_hpc.evidence.state import PriorEdges
from tests.evidence.networks import TIMES, block, simulate, state, target

INPUTS, COMPLEX, GENES = 12, 3, 30


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_gene_of_the_same_complex_is_no_regulator(seed: int) -> None:
    """Eighteen genes in six groups of the same three inputs; no prior. The search alone takes a gene of the group."""
    rng = np.random.default_rng((11, seed))
    found = []
    for group in range(6):
        inputs = rng.choice(INPUTS, 3, replace=False).tolist()
        effects = rng.uniform(0.35, 0.7, 3) * rng.choice([-1.0, 1.0], 3)
        for k in range(COMPLEX):
            gene = INPUTS + COMPLEX * group + k
            pairs = np.array([[inputs[0], inputs[1]]])
            found.append(
                target(
                    gene,
                    dict(zip(inputs, effects, strict=True)),
                    pairs=pairs,
                    pair_coefficients=np.array([1.2]),
                )
            )
    known = state(GENES, found, 0.0)
    rates = np.r_[np.zeros(INPUTS), np.full(GENES - INPUTS, 1.0)]
    start = np.concatenate([rng.normal(0.5, 0.09, (100, INPUTS)), rng.uniform(0, 1, (100, GENES - INPUTS))], axis=1)
    values = simulate(known, rates, start, TIMES)
    reading = read_network([block(values + rng.normal(0, 0.02, values.shape))], PriorEdges.none(GENES))
    true = wrong = 0
    for gene, one in reading.state.targets.items():
        real = np.isin(one.members, known.targets[gene].members)
        true, wrong = true + int(real.sum()), wrong + int((~real).sum())
    assert wrong <= 1
    assert true >= 0.8 * 3 * (GENES - INPUTS)


def test_indirect_effects_are_products_along_paths() -> None:
    """0 -> 1 -> 2 -> 3 with coefficients 0.5, -0.8, 0.4; the feature has slope (1 - |centre|)²."""
    known = state(4, [target(1, {0: 0.5}), target(2, {1: -0.8}), target(3, {2: 0.4})], 1e-4, centre=0.2)
    slope = 0.8**2
    expected = np.zeros((4, 4))
    expected[2, 0] = 0.05 * 0.8 * slope * 0.5
    expected[3, 1] = 0.05 * 0.4 * slope * 0.8
    expected[3, 0] = 0.05 * 0.4 * slope * 0.8 * slope * 0.5
    np.testing.assert_allclose(indirect_effects(known).toarray(), expected, rtol=1e-12)
