"""What a gene does to another through the other's regulators.

The course of a regulator between the times at which it was measured is known only as well as its own drive is.
Whatever is wrong with it depends on the regulators of the regulator, and so they, too, explain the target a little:
with much data and little noise beyond any doubt. That is no edge. An effect of the size of what a gene does indirectly,
times what a course may be off, is therefore possible without one.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.evidence.state import State

__all__ = ["indirect_effects"]

#: By how much of itself an effect through a regulator may be off; found on simulated networks without noise.
_OFF = 0.05


def indirect_effects(state: State) -> csr_array:
    """Return what genes may do to each other without an edge: (G, G), target × gene, s.d. of a coefficient.

    Paths of two and three edges count, each by the product of its coefficients' sizes. Of each target the genes
    are ascending.
    """
    genes = state.n_genes
    found = list(state.targets.values())
    row = np.repeat([target.gene for target in found], [len(target.members) for target in found])
    column = np.concatenate([np.empty(0, dtype=np.int64), *(target.members for target in found)])
    size = np.abs(np.concatenate([np.empty(0), *(target.coefficients for target in found)]))
    drives = csr_array((size, (row.astype(np.int64), column)), shape=(genes, genes))
    slopes = (1 - np.abs(state.centre)) ** 2  # of the feature at its mean
    moves = csr_array(drives.multiply(slopes[:, None]))
    two = drives @ moves
    effects = csr_array(_OFF * (two + two @ moves))
    effects.sort_indices()
    return effects
