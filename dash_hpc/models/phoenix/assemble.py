"""A PHOENIX model written down from drives: compressed matrices, nothing trained."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.sparse import coo_array, csr_array

from dash_hpc.evidence.fit import Drive
from dash_hpc.evidence.state import FloatArray, IntArray
from dash_hpc.ops.state import Matrix

__all__ = ["assemble"]


def assemble(
    drives: Mapping[int, Drive], rates: FloatArray, dtype: type[np.floating] | np.dtype = np.float64
) -> dict[str, Matrix]:
    """Return the seven tensors of the model whose right-hand side is ``rates · (drive − x)``.

    Unit k of the sums reads the k-th regulator alone, with weight 1, and acts on its targets with their slopes; one
    more, which reads nothing and has bias 1, holds the levels. A unit of the products per target that has one. m is the
    larger of both counts. The product of the masks has the edges of the drives and no others.

    Parameters
    ----------
    drives : mapping of int to Drive
        By target. Genes that are no target keep what they start with, whatever their rate.
    rates : (G,) float64
        Per unit of time.
    dtype : float32 or float64

    Returns
    -------
    dict of ndarray or csr_array
        By name, in the order of the family's tensors.
    """
    genes = len(rates)
    targets = np.array(sorted(drives), dtype=np.int64)
    fits = [drives[int(target)] for target in targets]
    ends = _edges(fits, targets)
    regulators, unit = np.unique(ends[0], return_inverse=True)
    products = [k for k, fit in enumerate(fits) if fit.has_product]
    product_ends = _edges([fits[k] for k in products], np.arange(len(products)))
    m = max(len(regulators) + 1, len(products))

    def matrix(rows: IntArray, columns: IntArray, values: FloatArray, shape: tuple[int, int]) -> csr_array:
        return csr_array(coo_array((values.astype(dtype), (rows, columns)), shape=shape))

    def joined(values: list[FloatArray]) -> FloatArray:
        return np.concatenate([np.empty(0), *values])

    bias = np.zeros(m, dtype=dtype)
    bias[len(regulators)] = 1
    moving = np.zeros(genes, dtype=dtype)
    moving[targets] = rates[targets]
    level = np.array([fit.level for fit in fits])
    slopes, powers = joined([fit.slopes for fit in fits]), joined([fits[k].powers for k in products])
    return {
        "W_sums": matrix(np.arange(len(regulators)), regulators, np.ones(len(regulators)), (m, genes)),
        "b_sums": bias,
        "W_prods": matrix(product_ends[1], product_ends[0], powers, (m, genes)),
        "b_prods": np.zeros(m, dtype=dtype),
        "U_sums": matrix(
            np.r_[targets, ends[1]],
            np.r_[np.full(len(targets), len(regulators)), unit],
            np.r_[level, slopes],
            (genes, m),
        ),
        "U_prods": matrix(
            targets[products], np.arange(len(products)), np.array([fits[k].gain for k in products]), (genes, m)
        ),
        "v": moving,
    }


def _edges(fits: list[Drive], ends: IntArray) -> tuple[IntArray, IntArray]:
    """Regulators of all the drives, one after the other, and the entry of ``ends`` of the drive of each."""
    sizes = [len(fit.regulators) for fit in fits]
    none = np.empty(0, dtype=np.int64)
    return np.concatenate([none, *(fit.regulators for fit in fits)]), np.repeat(ends, sizes)
