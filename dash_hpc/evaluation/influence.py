"""Who acts on whom in a model, and how strongly.

Every matrix here is target × regulator: entry ``[j, i]`` is the influence of gene i on gene j.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array, hstack, issparse, vstack

from dash_hpc.errors import UsageError
from dash_hpc.evaluation.matrices import row_blocks, row_sums
from dash_hpc.models.layers import Influence
from dash_hpc.models.registry import family_of
from dash_hpc.ops.state import Tensors, copy_tensor, masked_tensors, values

__all__ = [
    "EdgePart",
    "active_weights",
    "edge_parts",
    "effects",
    "model_sparsity",
    "row_normalised",
    "structural_edges",
]

_EDGE_PARTS = 32  # an edge takes far more bytes than an entry of a matrix
_FLOAT64_GENES = 4096  # above this, G × G results are float32: 0.5 GB instead of 1 GB at 11,165 genes


def _masked(weights: Tensors, masks: Mapping[str, np.ndarray] | None) -> Tensors:
    """The tensors with 0 outside the masks."""
    prunable = family_of(weights).prunable
    given = {name: np.asarray(mask, dtype=bool) for name, mask in (masks or {}).items() if name in prunable}
    for name, mask in given.items():
        if mask.shape != values(weights[name]).shape:
            raise UsageError(f"mask {name} has shape {mask.shape}, the weights have {values(weights[name]).shape}")
    return masked_tensors(weights, given) if given else weights


def _factors(influence: Influence, gain: np.ndarray, convert: Callable[[np.ndarray], np.ndarray]) -> tuple[Any, Any]:
    """diag(gain)·[outer₁ outer₂ …] and [inner₁; inner₂; …] of converted values; compressed when one of them is."""
    left, right = (
        [copy_tensor(matrix, convert(values(matrix))) for matrix in matrices]
        for matrices in (influence.outer, influence.inner)
    )
    if any(issparse(part) for part in (*left, *right)):
        scaled = csr_array(hstack([csr_array(part) for part in left]))
        scaled.data *= np.repeat(gain, np.diff(scaled.indptr)).astype(scaled.dtype)
        return scaled, csr_array(vstack([csr_array(part) for part in right]))
    return np.concatenate(left, axis=1) * gain[:, None].astype(left[0].dtype), np.concatenate(right, axis=0)


def model_sparsity(weights: Tensors, masks: Mapping[str, np.ndarray] | None = None) -> float:
    """Return the share of exact zeros among the entries of the matrices that may be pruned.

    A row counts with its gain: of PHOENIX's U that is ReLU(v), so that a gene whose multiplier v is not positive has a
    zero row in both U matrices.
    """
    return family_of(weights).zero_share(_masked(weights, masks))


def active_weights(weights: Tensors, masks: Mapping[str, np.ndarray] | None = None) -> int:
    """Return the number of entries that `model_sparsity` does not count as zeros; it compares across any m."""
    return family_of(weights).weight_counts(_masked(weights, masks))[0]


def structural_edges(
    weights: Tensors, masks: Mapping[str, np.ndarray] | None = None, *, compressed: bool = False
) -> Any:
    """Return the model's edges as (G, G) bool, target × regulator.

    Gene i acts on gene j when some hidden unit joins them through two non-zero weights and gene j has a gain (in
    PHOENIX a positive v[j]). Working on the pattern, not on the products, keeps edges whose product underflows or
    cancels. A weight that is active but exactly zero carries nothing and makes no edge. With ``compressed``, the edges
    of a model with compressed matrices come as ``csr_array``: nothing of size G·G is allocated.
    """
    influence = family_of(weights).influence(_masked(weights, masks))
    alive = (influence.gain > 0).astype(np.float32)
    # sums of 0/1 products are exact in float32
    left, right = _factors(influence, alive, lambda array: (array != 0).astype(np.float32))
    if issparse(left):
        found = csr_array(left @ right) > 0.5
        return found if compressed else found.toarray()
    n_genes = left.shape[0]
    edges = np.empty((n_genes, right.shape[1]), dtype=bool)
    for rows in row_blocks(n_genes, right.shape[1]):
        np.greater(left[rows] @ right, 0.5, out=edges[rows])
    return edges


def effects(
    weights: Tensors,
    masks: Mapping[str, np.ndarray] | None = None,
    *,
    normalise: bool = False,
    dtype: Any = None,
    compressed: bool = False,
) -> Any:
    """Return D = diag(gain)·Σ outer·inner over the model's branches, target × regulator.

    For PHOENIX, diag(ReLU(v)) (U W of the sums + U W of the products): the summary of regulation of its authors (Genome
    Biology 2024). ``Family.influence`` says what it is for others.

    Parameters
    ----------
    weights, masks : mappings of arrays
        The tensors of any family; masks optional (masked entries count as zero).
    normalise : bool
        Divide every row by its sum of absolute values; rows of zeros stay zero.
    dtype : optional
        Of the result. Left out: float64 up to 4,096 genes, float32 above. Products are always formed in
        float64.
    compressed : bool
        Return a model with compressed matrices as ``csr_array``: nothing of size G·G is allocated.

    Returns
    -------
    numpy.ndarray (G, G)
        Units of the time derivative of gene j per unit of the activation of gene i. D is a summary of the
        weights, not a Jacobian: do not read magnitudes across targets without ``normalise``.
    """
    influence = family_of(weights).influence(_masked(weights, masks))
    left, right = _factors(influence, influence.gain, lambda array: array.astype(np.float64))
    n_genes = left.shape[0]
    if dtype is None:
        dtype = np.float64 if n_genes <= _FLOAT64_GENES else np.float32
    if issparse(left):
        whole = csr_array(left @ right)
        whole = (row_normalised(whole) if normalise else whole).astype(dtype)
        return whole if compressed else whole.toarray()
    result = np.empty((n_genes, right.shape[1]), dtype=dtype)
    for rows in row_blocks(n_genes, right.shape[1]):
        block = left[rows] @ right
        result[rows] = row_normalised(block) if normalise else block
    return result


@dataclass(frozen=True, eq=False)
class EdgePart:
    """Edges of neighbouring targets, by target and then regulator: coordinates (E,), effects and shares (E,)."""

    n_genes: int
    targets: np.ndarray
    regulators: np.ndarray
    effects: np.ndarray
    shares: np.ndarray


def edge_parts(
    weights: Tensors, masks: Mapping[str, np.ndarray] | None = None, *, dtype: Any = None
) -> Iterator[EdgePart]:
    """Yield what `structural_edges` and `effects`, with and without ``normalise``, say of the edges alone.

    In blocks of targets; a model with compressed matrices comes in one. Nothing of size G·G is allocated.
    """
    influence = family_of(weights).influence(_masked(weights, masks))
    left, right = _factors(influence, influence.gain, lambda array: array.astype(np.float64))
    alive = (influence.gain > 0).astype(np.float32)
    starts, ends = _factors(influence, alive, lambda array: (array != 0).astype(np.float32))
    n_genes = left.shape[0]
    dtype = dtype or (np.float64 if n_genes <= _FLOAT64_GENES else np.float32)
    if issparse(left):
        pattern = csr_array(starts @ ends) > 0.5
        pattern.sort_indices()
        targets, regulators = np.repeat(np.arange(n_genes), np.diff(pattern.indptr)), pattern.indices
        whole = csr_array(left @ right)
        whole.eliminate_zeros()
        found, shares = (_entries_at(matrix, targets, regulators) for matrix in (whole, row_normalised(whole)))
        yield EdgePart(n_genes, targets, regulators, found.astype(dtype), shares.astype(dtype))
        return
    for rows in row_blocks(n_genes, n_genes, _EDGE_PARTS):
        targets, regulators = np.nonzero(starts[rows] @ ends > 0.5)
        block = left[rows] @ right
        found, shares = block[targets, regulators], row_normalised(block)[targets, regulators]
        yield EdgePart(n_genes, targets + rows.start, regulators, found.astype(dtype), shares.astype(dtype))


def _entries_at(matrix: csr_array, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The entries at places that include all stored ones, sorted by row and column; 0 where nothing is stored."""
    matrix.sort_indices()
    width = matrix.shape[1]
    stored = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr)) * width + matrix.indices
    result = np.zeros(len(rows), dtype=matrix.dtype)
    result[np.searchsorted(rows.astype(np.int64) * width + columns, stored)] = matrix.data
    return result


def row_normalised(matrix: Any) -> Any:
    """Return ``matrix`` (G, G) with each row divided by its sum of absolute values (0 stays 0)."""
    total = row_sums(matrix)
    if issparse(matrix):
        result = csr_array(matrix, copy=True)
        spread = np.repeat(total, np.diff(result.indptr))
        result.data = np.divide(result.data, spread, out=np.zeros_like(result.data), where=spread > 0)
        return result
    return np.divide(matrix, total, out=np.zeros_like(matrix), where=total > 0)
