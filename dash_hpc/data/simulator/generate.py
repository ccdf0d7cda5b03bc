"""New networks: drawn at random, or sampled from a larger one."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from dash_hpc.data.simulator.graph import Network
from dash_hpc.errors import UsageError

__all__ = ["random_network", "sample_subnetwork"]

INPUT_SHARE = 0.75  # of the regulators; 73 of 97 in SIM350, 97 of 133 in SIM690
ACTIVATING_SHARE = 374 / 550  # SIM350
SOURCE_DECAY = 0.6  # static scale-free model: out-degree exponent 1 + 1/0.6 = 2.7


def _input_count(genes: int, regulators: int, edges: int) -> int:
    """How many regulators are input genes: the count nearest to the usual share that the sizes allow."""
    possible = [
        inputs
        for inputs in range(1 if regulators == 1 else 0, min(regulators, genes - 1) + 1)
        if max(regulators, genes - inputs) <= edges <= regulators * (genes - inputs) - (regulators - inputs)
    ]
    if not possible:
        least = max(regulators, genes - regulators)
        raise UsageError(
            f"edges = {edges}: {genes} genes with {regulators} regulators need {least} to "
            f"{regulators * (genes - 1)} edges; change data.edges or data.regulators"
        )
    wished = round(INPUT_SHARE * regulators)
    return min(possible, key=lambda inputs: (abs(inputs - wished), inputs))


def random_network(genes: int, regulators: int, edges: int, rng: np.random.Generator) -> Network:
    """Draw a random network that resembles yeast's: few regulators, heavy-tailed degrees.

    Every regulator has a target and every gene that is not an input has a regulator. The remaining edges take their
    source from the static scale-free model (Goh, Kahng and Kim 2001) and their target in proportion to its in-degree.
    About three quarters of the regulators are input genes (they come first) and 68 % of the edges activate, as in
    the SIM350 benchmark of PHOENIX (Hossain et al. 2024). There are no self-loops.

    Parameters
    ----------
    genes, regulators, edges : int
        Exact sizes of the result.
    rng : numpy.random.Generator

    Returns
    -------
    Network
        Genes ``G001`` ..., edges sorted by source, then target; default kinetics.

    Raises
    ------
    UsageError
        When no network of these sizes exists.
    """
    if genes < 2:
        raise UsageError(f"genes = {genes}: a network needs at least 2 genes; raise data.genes")
    if not 1 <= regulators <= genes:
        raise UsageError(f"regulators = {regulators}: must lie between 1 and genes = {genes}; change data.regulators")
    if edges > genes * (genes - 1):
        raise UsageError(
            f"edges = {edges}: {genes} genes have at most {genes * (genes - 1)} ordered pairs; lower data.edges"
        )
    inputs = _input_count(genes, regulators, edges)
    others = rng.permutation(np.arange(inputs, genes))[: regulators - inputs]
    sources = np.concatenate([np.arange(inputs), np.sort(others)])
    targets = np.arange(inputs, genes)
    pull = rng.permutation(np.arange(1.0, regulators + 1) ** -SOURCE_DECAY)

    free = sources[:, None] != targets[None, :]  # ordered pairs without an edge yet
    for row, column in _covering_pairs(sources, targets, pull, rng):
        free[row, column] = False
    in_degree = (~free & (sources[:, None] != targets[None, :])).sum(axis=0).astype(np.float64)
    left = free.sum(axis=1)
    for _ in range(edges - max(len(sources), len(targets))):
        row = _pick(np.where(left > 0, pull, 0.0), rng)
        column = _pick(in_degree * free[row], rng)
        free[row, column] = False
        left[row] -= 1
        in_degree[column] += 1
    rows, columns = np.nonzero(~free & (sources[:, None] != targets[None, :]))
    order = np.lexsort((targets[columns], sources[rows]))
    signs = rng.permutation(np.arange(edges) < round(ACTIVATING_SHARE * edges))
    digits = max(3, len(str(genes)))
    return Network.from_edges(
        [f"G{gene:0{digits}d}" for gene in range(1, genes + 1)],
        sources[rows][order],
        targets[columns][order],
        signs,
    )


def _pick(weights: np.ndarray, rng: np.random.Generator) -> int:
    edge = np.cumsum(weights)
    # A draw that rounds up to the total would fall behind the last entry with weight.
    spot = min(rng.random() * edge[-1], np.nextafter(edge[-1], 0.0))
    return int(np.searchsorted(edge, spot, side="right"))


def _covering_pairs(
    sources: np.ndarray, targets: np.ndarray, pull: np.ndarray, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Fewest pairs (row of ``sources``, row of ``targets``) that touch every source and target; no self-loop."""
    rows = rng.permutation(len(sources))
    columns = rng.permutation(len(targets))
    both = min(len(rows), len(columns))
    for here in range(both):
        if sources[rows[here]] == targets[columns[here]]:
            # A gene meets itself once at most, so exchanging with any other place leaves no self-loop behind.
            line = columns if len(columns) > 1 else rows
            there = (here + 1) % len(line)
            line[[here, there]] = line[[there, here]]
    pairs = [(int(rows[place]), int(columns[place])) for place in range(both)]
    for column in columns[both:]:
        pairs.append((_pick(np.where(sources == targets[column], 0.0, pull), rng), int(column)))
    for row in rows[both:]:
        pairs.append((int(row), _pick((targets != sources[row]).astype(np.float64), rng)))
    return pairs


def sample_subnetwork(
    network: Network,
    genes: int,
    rng: np.random.Generator,
    *,
    min_regulators: int = 15,
    top_fraction: float = 0.25,
) -> Network:
    """Sample a connected, modular part of a larger network (Marbach et al. 2009, as in Bhuva et al. 2019).

    Grows from a random gene. Each step looks at the undirected neighbours of the genes taken so far (until
    ``min_regulators`` regulators are in: only regulators, or, where there are none, genes of degree above 1), ranks
    them by the modularity Q = sᵀ(A − ddᵀ/2M)s / 4M of the split "taken or not", and takes one of the best
    ``top_fraction`` at random. Without neighbours any unused gene is taken.

    Parameters
    ----------
    network : Network
        Where to sample from.
    genes : int
        How many genes to take, at most ``network.n_genes``. Genes that end without an edge are dropped, so that the
        result can be smaller.
    rng : numpy.random.Generator
    min_regulators : int, default 15
    top_fraction : float, default 0.25
        In (0, 1].

    Raises
    ------
    UsageError
        When a size or fraction cannot be met.
    """
    if not 2 <= genes <= network.n_genes:
        raise UsageError(f"genes = {genes}: a sample of this network has 2 to {network.n_genes} genes")
    if not 0 < top_fraction <= 1:
        raise UsageError(f"top_fraction = {top_fraction}: must lie in (0, 1]")
    linked = network.source != network.target
    ends = np.concatenate([network.source[linked], network.target[linked]])
    starts = np.concatenate([network.target[linked], network.source[linked]])
    adjacency = sparse.csr_array(
        sparse.coo_array((np.ones(len(ends)), (ends, starts)), shape=(network.n_genes, network.n_genes))
    )
    degree = np.asarray(adjacency.sum(axis=1)).ravel()
    twice_edges = max(float(degree.sum()), 1.0)
    regulator = network.out_degree > 0
    taken = np.zeros(network.n_genes, dtype=bool)
    taken[rng.integers(network.n_genes)] = True
    while taken.sum() < genes:
        split = np.where(taken, 1.0, -1.0)
        near = adjacency @ taken.astype(np.float64) > 0
        candidates = np.flatnonzero(near & ~taken)
        if not len(candidates):
            candidates = np.flatnonzero(~taken)
            taken[rng.choice(candidates)] = True
            continue
        if (taken & regulator).sum() < min_regulators:
            wanted = candidates[regulator[candidates]]
            if not len(wanted):
                wanted = candidates[degree[candidates] > 1]
            candidates = wanted if len(wanted) else candidates
        # Moving gene c into the set turns s into s + 2e_c, and sᵀBs into sᵀBs + 4(Bs)_c + 4B_cc; only the last two
        # terms differ between candidates.
        gain = (adjacency @ split - degree * (degree @ split) / twice_edges) - degree**2 / twice_edges
        best = candidates[np.argsort(-gain[candidates], kind="stable")]
        taken[rng.choice(best[: max(1, int(np.ceil(top_fraction * len(best))))])] = True
    return network.subnetwork(np.flatnonzero(taken))
