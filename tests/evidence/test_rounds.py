"""The whole search on SIM350 (550 edges, 140 trajectories, noise 0.025), against the truth and against shuffled data.

Limits are those of the method's specification for means over draws of the noise. This is one draw: where few edges are
counted (27 at 5 %), two standard errors of the count come on top.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dash_hpc.data import build
from dash_hpc.evidence.blocks import blocks_of
from dash_hpc.evidence.decide import Decision, EvidenceOptions, Ledger, decide, ledger_of
from dash_hpc.evidence.rounds import Reading, read_network
from dash_hpc.evidence.state import PriorEdges

GENES = 350


@dataclass(frozen=True)
class Read:
    reading: Reading
    ledger: Ledger
    prior: np.ndarray
    truth: np.ndarray

    def network(self, mode: str) -> tuple[np.ndarray, Decision]:
        """(G, G) bool, regulator × target, and the decision."""
        found = decide(self.ledger, GENES, EvidenceOptions(mode=mode))
        edges = np.zeros((GENES, GENES), dtype=bool)
        edges[self.ledger.regulator[found.taken], self.ledger.target[found.taken]] = True
        return edges, found


@pytest.fixture(scope="module")
def read(sim350: object) -> object:
    """``read(share of wrong edges, shuffled)``; the fixture of the data is asked for so that it is skipped without."""

    @cache
    def once(wrong: float, shuffled: bool = False) -> Read:
        spec = {"kind": "catalogue", "name": "sim350", "prior_noise": wrong, "expression_noise": 0.025}
        dataset = build(spec, seed=0, base=Path())
        blocks = blocks_of(dataset.train)
        if shuffled:
            rng = np.random.default_rng(0)
            values = blocks[0].values.copy()
            for gene in range(GENES):
                values[:, :, gene] = values[rng.permutation(len(values)), :, gene]
            blocks = (replace(blocks[0], values=values),)
        prior = dataset.prior
        reading = read_network(blocks, PriorEdges.from_matrix(prior.motif, prior.signed))
        truth = dataset.truth.toarray() != 0
        return Read(reading, ledger_of(reading.state), prior.motif.toarray() != 0, truth)

    return once


@pytest.mark.parametrize(("wrong", "within"), [(0.05, 0.02), (0.1, 0.02), (0.2, 0.03), (0.4, 0.05)])
def test_corruption_of_the_prior_is_estimated(read: object, wrong: float, within: float) -> None:
    assert read(wrong).reading.state.corruption == pytest.approx(wrong, abs=within)  # type: ignore[operator]


@pytest.mark.parametrize("wrong", [0.05, 0.2])
def test_probabilities_add_up_to_what_is_true(read: object, wrong: float) -> None:
    """Expected numbers of spurious, missing and taken false edges, beside the true ones and the error of counting."""
    found = read(wrong)  # type: ignore[operator]
    network, decision = found.network("strict")
    assert decision.spurious == pytest.approx((found.prior & ~found.truth).sum(), rel=0.2)
    assert decision.missing == pytest.approx((found.truth & ~found.prior).sum(), rel=0.2)
    expected = decision.false_discoveries * network.sum()
    false = (network & ~found.truth).sum()
    assert expected / 2 - 2 * np.sqrt(expected) <= false <= 2 * expected + 2 * np.sqrt(expected)


@pytest.mark.parametrize(
    ("wrong", "balanced", "precision", "withheld", "spurious"),
    [(0.05, 0.993, 0.97, 0.83, 0.28), (0.2, 0.971, 0.94, 0.73, 0.22)],
)
def test_network_that_is_found(
    read: object, wrong: float, balanced: float, precision: float, withheld: float, spurious: float
) -> None:
    found = read(wrong)  # type: ignore[operator]
    network, _ = found.network("network")
    truth, prior = found.truth, found.prior
    assert (network[truth].mean() + (~network[~truth]).mean()) / 2 >= balanced
    assert truth[network].mean() >= precision
    assert network[truth & ~prior].mean() >= withheld
    assert network[prior & ~truth].mean() <= spurious


def test_shuffled_trajectories_say_nothing(read: object) -> None:
    """Each gene's trajectories in an order of their own: no withheld edge is found, and hardly any new one admitted."""
    found = read(0.05, shuffled=True)  # type: ignore[operator]
    network, _ = found.network("network")
    assert not network[found.truth & ~found.prior].any()
    assert (network & ~found.prior).sum() <= 20
