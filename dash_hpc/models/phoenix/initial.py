"""Initial weights of a PHOENIX model: dense, or on a structure that is given."""

from __future__ import annotations

import math

import numpy as np
from scipy.sparse import coo_array, csr_array

from dash_hpc.errors import UsageError
from dash_hpc.ops.phoenix import TENSORS
from dash_hpc.ops.state import Matrix

__all__ = ["initial_weights", "structured_weights"]

_ZERO_SHARE = 0.95
_SPARSE_SD = 0.05
_ROW_NORM = 0.34  # of U in the dense start: orthonormal columns, 350 genes, 40 hidden units


def initial_weights(
    n_genes: int,
    n_hidden: int,
    rng: np.random.Generator,
    init_U: str = "orthogonal",
    dtype: type[np.floating] | np.dtype = np.float32,
) -> dict[str, np.ndarray]:
    """Draw the seven tensors as the authors of PHOENIX and DASH do.

    Parameters
    ----------
    n_genes, n_hidden : int
        G and m (hidden units per branch).
    rng : numpy.random.Generator
        Source of all draws; the tensors are drawn in the order of :data:`dash_hpc.ops.TENSORS`.
    init_U : {"orthogonal", "sparse"}
        Output weights: a random matrix with orthonormal columns (DASH; rows when m > G), or the same
        column-sparse Gaussian as the input weights (PHOENIX).
    dtype : numpy dtype
        float32 (default) or float64. Draws are made in float64 and rounded.

    Returns
    -------
    dict of ndarray
        W: per input column, ceil(0.95·m) zeros at random rows and N(0, 0.05²) elsewhere; b: U(±1/√G);
        v: U(0, 1). The zeros of W are not masked: they move at the first optimiser step.

    Raises
    ------
    UsageError
        When a size is below 1 or ``init_U`` is unknown.
    """
    if n_genes < 1 or n_hidden < 1:
        raise UsageError(f"a model needs at least 1 gene and 1 hidden unit, got {n_genes} and {n_hidden}")
    if init_U not in ("orthogonal", "sparse"):
        raise UsageError(f'init_U must be "orthogonal" or "sparse", got {init_U!r}')

    def column_sparse(rows: int, columns: int) -> np.ndarray:
        values = rng.normal(0.0, _SPARSE_SD, size=(rows, columns))
        zeros = math.ceil(_ZERO_SHARE * rows)
        order = rng.permuted(np.broadcast_to(np.arange(rows)[:, None], (rows, columns)), axis=0)
        values[order < zeros] = 0.0
        return values

    def orthogonal(rows: int, columns: int) -> np.ndarray:
        tall = rng.normal(size=(max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(tall)
        q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # makes the distribution uniform (Haar)
        return q if rows >= columns else q.T

    bound = 1.0 / math.sqrt(n_genes)
    make_U = orthogonal if init_U == "orthogonal" else column_sparse
    drawn = {
        "W_sums": column_sparse(n_hidden, n_genes),
        "b_sums": rng.uniform(-bound, bound, size=n_hidden),
        "W_prods": column_sparse(n_hidden, n_genes),
        "b_prods": rng.uniform(-bound, bound, size=n_hidden),
        "U_sums": make_U(n_genes, n_hidden),
        "U_prods": make_U(n_genes, n_hidden),
        "v": rng.uniform(0.0, 1.0, size=n_genes),
    }
    return {name: np.ascontiguousarray(drawn[name], dtype=dtype) for name in TENSORS}


def structured_weights(
    structure: csr_array, rng: np.random.Generator, *, dtype: type[np.floating] | np.dtype = np.float32
) -> dict[str, Matrix]:
    """Draw the tensors of a model that has the edges of ``structure`` (G, G), target × regulator, and no others.

    Unit k of the sums branch reads regulator k alone and acts on that regulator's targets; unit k of the products
    branch reads all regulators of target k and acts on it alone. m is the larger of the numbers of regulators and of
    targets. Nothing of size m·G is allocated.

    Returns
    -------
    dict of ndarray or csr_array
        In the order of the tensors, and of the draws. W ~ N(0, 0.05²) as in the dense start; U ~ N(0, 0.34²/n) with n
        the entries in its row (a larger start lets more genes die, v <= 0, in the first epochs); b ~ U(±1/√G);
        v ~ U(0, 1).
    """
    G = structure.shape[0]
    target, regulator = structure.tocoo().coords
    regulators, sums_unit = np.unique(regulator, return_inverse=True)
    targets, prods_unit = np.unique(target, return_inverse=True)
    m = max(len(regulators), len(targets))

    def drawn(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> csr_array:
        values = rng.normal(0.0, _SPARSE_SD, size=len(rows))
        if shape == (G, m):
            values = _ROW_NORM * rng.normal(size=len(rows)) / np.sqrt(np.bincount(rows, minlength=G)[rows])
        return csr_array(coo_array((values.astype(dtype), (rows, columns)), shape=shape))

    bound = 1.0 / np.sqrt(G)
    return {
        "W_sums": drawn(np.arange(len(regulators)), regulators, (m, G)),
        "b_sums": rng.uniform(-bound, bound, size=m).astype(dtype),
        "W_prods": drawn(prods_unit, regulator, (m, G)),
        "b_prods": rng.uniform(-bound, bound, size=m).astype(dtype),
        "U_sums": drawn(target, sums_unit, (G, m)),
        "U_prods": drawn(targets, np.arange(len(targets)), (G, m)),
        "v": rng.uniform(0.0, 1.0, size=G).astype(dtype),
    }
