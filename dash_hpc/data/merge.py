"""From edges, given once or more, to a matrix with one entry each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array, csr_array

from dash_hpc.data.record import NetworkRecord

__all__ = ["Merged", "canonical", "merge_edges", "symmetrised"]


@dataclass(frozen=True, eq=False)
class Merged:
    """A network of which every edge was given once or more.

    Attributes
    ----------
    network : (n, n) float64 csr_array
        Without stored zeros.
    merged : int
        Entries that went into another one.
    contradictory : int
        Edges that were given with both signs.
    unsigned : int
        Edges of which no entry knows the sign.
    zero : int
        Entries of weight 0.
    """

    network: csr_array
    merged: int
    contradictory: int
    unsigned: int
    zero: int

    def told(self, record: NetworkRecord) -> NetworkRecord:
        """Return the record with these counts."""
        return replace(
            record,
            merged=self.merged,
            contradictory=self.contradictory,
            unsigned=self.unsigned,
            zero=self.zero,
            loops=int(np.count_nonzero(self.network.diagonal())),
        )


def merge_edges(
    rows: ArrayLike, columns: ArrayLike, weights: ArrayLike, n: int, *, unknown: ArrayLike | None = None
) -> Merged:
    """Make an (n, n) network with one entry per edge: the weight of largest size, whatever the order of the entries.

    An edge that is given with both signs has none that is known: it is positive, as in a list without signs.
    ``unknown`` marks entries of unknown sign; they say nothing against one that is known.
    """
    i, j = np.asarray(rows, dtype=np.int64), np.asarray(columns, dtype=np.int64)
    w = np.asarray(weights, dtype=np.float64)
    known = ~np.asarray(unknown, dtype=bool) if unknown is not None else np.ones(len(w), dtype=bool)
    place, which = np.unique(i * n + j, return_inverse=True)
    size, positive, negative = np.zeros(len(place)), np.zeros(len(place), bool), np.zeros(len(place), bool)
    np.maximum.at(size, which, np.abs(w))
    positive[which[known & (w > 0)]] = True
    negative[which[known & (w < 0)]] = True
    both = positive & negative
    value = np.where(negative & ~both, -size, size)
    network = canonical(coo_array((value, (place // n, place % n)), shape=(n, n)))
    unsigned = int(np.count_nonzero((size > 0) & ~positive & ~negative))
    return Merged(network, len(w) - len(place), int(both.sum()), unsigned, int((w == 0).sum()))


def canonical(network: object) -> csr_array:
    """A float64 copy in CSR with sorted indices and without stored zeros: equal networks have equal arrays."""
    result = csr_array(network, dtype=np.float64, copy=True)
    result.sum_duplicates()
    result.eliminate_zeros()
    result.sort_indices()
    return result


def symmetrised(network: csr_array) -> csr_array:
    """The larger of each entry and its mirror image; for weights of 0 or more."""
    return canonical(network.maximum(network.T.tocsr()))
