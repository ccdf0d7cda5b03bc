"""Whether a prior is worth anything: priors of which a known share is real, and Bayes factors as data give them."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.evidence.state import Candidates, PriorEdges, State, Target
from dash_hpc.evidence.trust import most_real, worthless

DRAWS, EDGES = 200, 300


def bayes_factors(rng: np.random.Generator, real: np.ndarray, information: float) -> np.ndarray:
    """Exact log Bayes factors of coefficients, N(0, 1) where real, else 0, measured with an information."""
    b = np.where(real, rng.standard_normal(len(real)), 0.0)
    score = information * b + np.sqrt(information) * rng.standard_normal(len(real))
    return np.asarray(0.5 * score**2 / (information + 1) - 0.5 * np.log1p(information))


@pytest.mark.parametrize("information", [3.0, 100.0])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.9])
def test_the_largest_possible_share_is_seldom_below_the_real_one(share: float, information: float) -> None:
    """3 nats below the best: with one free number that is missed in 1 of 140 draws (chi-squared / 2 > 3, one side)."""
    rng = np.random.default_rng((3, int(100 * share), int(information)))
    most = []
    for _ in range(DRAWS):
        real = np.arange(EDGES) < round(share * EDGES)
        most.append(most_real(bayes_factors(rng, real, information), 0))
    assert np.mean(np.array(most) < share) <= 0.03
    if information > 10:
        assert np.median(most) < share + 0.12


def test_refused_edges_count_as_wrong_ones_and_what_says_nothing_does_not() -> None:
    assert most_real(np.zeros(500), 0) > 0.99
    # (1 - x)^500 = exp(-3), on a grid of 1/400
    assert most_real(np.empty(0), 500) == pytest.approx(1 - np.exp(-3 / 500), abs=0.0026)
    assert most_real(np.empty(0), 0) == 1.0


def state(log_bf: float, decided: int) -> State:
    """50 targets with two listed edges each, of that Bayes factor; of some another edge is beyond doubt."""
    genes = 60
    motif = np.zeros((genes, genes))
    motif[np.ix_([0, 1], range(10, genes))] = 1.0
    edges = PriorEdges.from_matrix(motif, signed=False)
    targets = {}
    for j in range(10, genes):
        targets[j] = Target(j, Candidates.unseen(np.arange(10), *edges.into(j)), 1.0, 1.0)
        targets[j].candidates.log_bf[:2] = log_bf
        targets[j].candidates.log_bf[5] = 20.0 * (j < 10 + decided)
    return State(edges, 1.0, np.arange(genes) < 10, targets, np.zeros(genes))


def test_a_prior_is_given_up_only_where_the_data_decide_and_refuse_it() -> None:
    assert worthless(state(-2.0, 40))
    assert not worthless(state(-2.0, 9))  # of 50: the data decide little
    assert not worthless(state(-0.02, 40))  # they say nothing of its edges
    assert not worthless(state(5.0, 40))
