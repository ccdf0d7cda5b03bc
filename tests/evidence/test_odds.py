"""Prior log-odds against a simulation of how a noisy prior comes about."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.evidence.odds import fit_degrees, set_prior_odds
from dash_hpc.evidence.state import Candidates, PriorEdges, State, Target

GENES, SHARE, SHAPE, MEAN, CORRUPTION, STRAYS = 400_000, 0.3, 1.5, 8.0, 0.2, 0.6


def test_degrees_say_what_a_simulation_shows() -> None:
    """Regulators' true degrees are negative binomial; a share of the edges is lost, and strays fall on all genes."""
    rng = np.random.default_rng(4)
    regulator = rng.random(GENES) < SHARE
    degree = np.where(regulator, rng.poisson(rng.gamma(SHAPE, MEAN / SHAPE, size=GENES)), 0)
    kept = rng.binomial(degree, 1 - CORRUPTION)
    stray = rng.poisson(STRAYS, size=GENES)
    n = kept + stray
    found = fit_degrees(n, STRAYS, 100, CORRUPTION)
    assert found.share == pytest.approx(SHARE, rel=0.02)
    assert found.mean == pytest.approx(MEAN, rel=0.02)
    assert found.shape == pytest.approx(SHAPE, rel=0.05)
    for d in range(1, 12):
        here = n == d
        real = 1 / (1 + np.exp(-found.listed[d]))
        both = here & regulator
        agree(1 - real, stray[here] / d)
        agree(np.exp(found.unlisted[d]) * 100, (degree - kept)[here])
        agree(1 / (1 + np.exp(-found.regulator[d])), regulator[here])
        agree(found.kept[d], kept[both] / d)
        agree(found.missing[d] * 100, (degree - kept)[both])


def agree(found: float, drawn: np.ndarray) -> None:
    """Within 2 % of the mean of what was drawn, and three standard errors of it."""
    error = drawn.std() / np.sqrt(len(drawn))
    assert abs(found - drawn.mean()) < 0.02 * drawn.mean() + 3 * error


def network(listed: list[tuple[int, int]], genes: int) -> State:
    motif = np.zeros((genes, genes))
    for i, j in listed:
        motif[i, j] = 1.0
    edges = PriorEdges.from_matrix(motif, signed=False)
    constant = np.zeros(genes, dtype=bool)
    targets = {}
    for j in range(genes):
        others = np.delete(np.arange(genes), j)
        targets[j] = Target(j, Candidates.unseen(others, *edges.into(j)), 1.0, 1.0)
    return State(edges, 1.0, constant, targets, np.zeros(genes))


def prior_of(state: State, regulator: int, target: int) -> float:
    edge = state.targets[target].candidates
    return float(edge.prior[np.searchsorted(edge.genes, regulator)])


def hub_network() -> State:
    """Gene 0 has twenty listed targets, gene 1 has one; so have ten genes more."""
    return network([(0, j) for j in range(2, 22)] + [(1, 30)] + [(k, k + 10) for k in range(22, 32)], 60)


def test_edges_of_hubs_are_believed() -> None:
    state = hub_network()
    set_prior_odds(state)
    assert prior_of(state, 0, 2) > prior_of(state, 1, 30)
    assert prior_of(state, 0, 50) > prior_of(state, 1, 50)
    assert prior_of(state, 0, 2) > prior_of(state, 0, 50)


def test_a_source_is_told_by_its_other_edges() -> None:
    """Evidence for one edge of a gene raises the odds of its others, and not its own."""
    state = hub_network()
    state.passes = 1
    set_prior_odds(state)
    own, other = prior_of(state, 1, 30), prior_of(state, 1, 50)
    edge = state.targets[30].candidates
    edge.log_bf[np.searchsorted(edge.genes, 1)] = 20.0
    set_prior_odds(state)
    assert prior_of(state, 1, 30) == pytest.approx(own, abs=1e-9)
    assert prior_of(state, 1, 50) > other + 1


def test_a_listed_edge_into_a_constant_gene_speaks_against_its_source() -> None:
    state = network([(0, 1), (0, 2), (0, 3), (5, 6), (7, 8)], 20)
    state.passes = 1
    set_prior_odds(state)
    before = prior_of(state, 0, 1)
    state.constant[3] = True
    del state.targets[3]
    set_prior_odds(state)
    assert prior_of(state, 0, 1) < before


def test_without_a_prior_genes_with_many_targets_get_more() -> None:
    state = network([], 20)
    set_prior_odds(state)
    assert prior_of(state, 3, 4) == pytest.approx(np.log(2 / 20))
    state.passes = 1
    for j in range(1, 11):
        edge = state.targets[j].candidates
        edge.log_bf[:] = -12.0
        edge.log_bf[np.searchsorted(edge.genes, 0)] = 12.0
    for j in (0, *range(11, 20)):
        state.targets[j].candidates.log_bf[:] = -12.0
    set_prior_odds(state)
    # (r + d) / (r / M + 1) / G with r = 1/2, d = 10 edges of gene 0, and M = 10 edges / 20 genes
    assert prior_of(state, 0, 15) == pytest.approx(np.log(10.5 / 2 / 20), abs=1e-3)
    assert prior_of(state, 3, 15) == pytest.approx(np.log(0.5 / 2 / 20), abs=1e-3)
