"""Priors that are wrong or poor in a known way: what an ablation or a control puts in the place of the prior.

Each keeps something of the prior and takes the rest away, so that a difference in results says what the rest is worth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from dash_hpc.data.merge import canonical
from dash_hpc.data.prior import Prior
from dash_hpc.errors import UsageError

__all__ = ["VARIANTS", "flipped", "margins", "permuted", "reversed_edges", "rewired", "shuffled"]

_TRIALS = 10  # swaps that are tried per edge: pairs of edges are then mixed (Milo et al. 2003, arXiv cond-mat/0312028)


def rewired(
    regulator: NDArray[np.int64], target: NDArray[np.int64], n_genes: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return new targets (E,) for edges whose regulators stay: every gene keeps its in- and out-degree.

    A chain of swaps: of two edges a → b and c → d become a → d and c → b, unless one of these exists already or would
    be a self-pair where there was none. All networks with these degrees that swaps can reach are equally likely in the
    long run; ten swaps per edge are tried.
    """
    n = len(regulator)
    targets = [int(gene) for gene in target]
    if n < 2:
        return np.asarray(targets, dtype=np.int64)
    regulators = [int(gene) for gene in regulator]
    loops = bool(np.any(regulator == target))
    present = {a * n_genes + b for a, b in zip(regulators, targets, strict=True)}
    for first, second in rng.integers(0, n, size=(_TRIALS * n, 2)).tolist():
        a, b, c, d = regulators[first], targets[first], regulators[second], targets[second]
        new, other = a * n_genes + d, c * n_genes + b
        if new in present or other in present or (not loops and (a == d or c == b)):
            continue
        present -= {a * n_genes + b, c * n_genes + d}
        present |= {new, other}
        targets[first], targets[second] = d, b
    return np.asarray(targets, dtype=np.int64)


def shuffled(prior: Prior, rng: np.random.Generator) -> Prior:
    """Return the prior rewired (:func:`rewired`): all degrees stay, and weights go with the regulators' edges."""
    edges = canonical(prior.motif).tocoo()
    regulator, target = (np.asarray(index, dtype=np.int64) for index in edges.coords)
    new = rewired(regulator, target, prior.n_genes, rng)
    return replace(prior, motif=canonical(csr_array((edges.data, (regulator, new)), shape=prior.motif.shape)))


def permuted(prior: Prior, rng: np.random.Generator) -> Prior:
    """Return the prior with its genes' names drawn anew, in edges and interactions alike: only its shape stays."""
    order = rng.permutation(prior.n_genes)
    ppi = None if prior.ppi is None else canonical(prior.ppi[order][:, order])
    return replace(prior, motif=canonical(prior.motif[order][:, order]), ppi=ppi)


def margins(prior: Prior, rng: np.random.Generator | None = None) -> Prior:
    """Return all of the prior's regulators × all of its targets, weight 1 and without signs; self-pairs are left out.

    What a prior knows that names regulators and targets, and no edge between them.
    """
    edges = canonical(prior.motif).tocoo()
    regulators, targets = (np.unique(np.asarray(index, dtype=np.int64)) for index in edges.coords)
    rows, columns = np.repeat(regulators, len(targets)), np.tile(targets, len(regulators))
    apart = rows != columns
    ones = np.ones(int(apart.sum()))
    motif = canonical(csr_array((ones, (rows[apart], columns[apart])), shape=prior.motif.shape))
    return replace(prior, motif=motif, signed=False)


def reversed_edges(prior: Prior, rng: np.random.Generator | None = None) -> Prior:
    """Return the prior with every edge turned round."""
    return replace(prior, motif=canonical(prior.motif.T))


def flipped(prior: Prior, fraction: float, rng: np.random.Generator) -> Prior:
    """Return the prior with ``round(fraction · E)`` edges, drawn without replacement, of the other sign.

    Raises
    ------
    UsageError
        ``fraction`` is not in [0, 1].
    """
    if not 0 <= fraction <= 1:
        raise UsageError(f"the fraction of prior edges must be in [0, 1], got {fraction!r}")
    motif = canonical(prior.motif)
    turned = rng.permutation(motif.nnz)[: round(fraction * motif.nnz)]
    motif.data[turned] *= -1
    return replace(prior, motif=motif)


#: What a study can put in the place of its prior: name -> (what makes it, what stays of the prior, in words).
VARIANTS: dict[str, tuple[Callable[[Prior, np.random.Generator], Prior], str]] = {
    "shuffled": (shuffled, "its edges rewired at random, every gene keeps its in- and out-degree"),
    "permuted": (permuted, "its gene names drawn anew"),
    "margins": (margins, "all its regulators × all its targets, without signs"),
    "reversed": (reversed_edges, "every edge turned round"),
}
