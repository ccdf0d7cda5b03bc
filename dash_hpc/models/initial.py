"""Initial weights of a PHOENIX model."""

from __future__ import annotations

import math

import numpy as np

from dash_hpc.errors import UsageError
from dash_hpc.ops.state import TENSORS

__all__ = ["initial_weights"]

_ZERO_SHARE = 0.95
_SPARSE_SD = 0.05


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
