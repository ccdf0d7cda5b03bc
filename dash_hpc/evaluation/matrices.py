"""What the metrics ask of a target × regulator matrix, for arrays and compressed matrices alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

__all__ = [
    "Product",
    "any_along",
    "column_counts",
    "count",
    "diagonal",
    "entries",
    "row_blocks",
    "row_sums",
    "square_sum",
    "take",
]

BLOCK_ENTRIES = 1 << 24
"""Work in row blocks of about 128 MiB in float64."""


@dataclass(frozen=True)
class Product:
    """The bool matrix of all pairs of some rows with some columns, never spread out.

    Attributes
    ----------
    rows, columns : (n,) and (m,) bool
        Which; an entry is True where both are.
    """

    rows: np.ndarray
    columns: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of all rows and columns."""
        return self.rows.size, self.columns.size

    def __getitem__(self, key: tuple[slice, np.ndarray]) -> Product:
        rows, columns = key
        return Product(self.rows[rows], self.columns[columns])

    def toarray(self) -> np.ndarray:
        """Return it spread out."""
        return self.rows[:, None] & self.columns[None, :]


def row_blocks(n_rows: int, n_columns: int, parts: int = 1) -> Iterator[slice]:
    """Blocks of neighbouring rows that together have at most ``BLOCK_ENTRIES / parts`` entries, or are one row."""
    step = max(1, BLOCK_ENTRIES // parts // max(1, n_columns))
    for start in range(0, n_rows, step):
        yield slice(start, min(n_rows, start + step))


def count(matrix: Any) -> int:
    """Number of entries other than 0."""
    if isinstance(matrix, Product):
        return int(np.count_nonzero(matrix.rows)) * int(np.count_nonzero(matrix.columns))
    return int(matrix.count_nonzero() if issparse(matrix) else np.count_nonzero(matrix))


def column_counts(matrix: Any) -> np.ndarray:
    """(columns,) number of entries other than 0 in each column."""
    if issparse(matrix):
        return np.bincount(csr_array(matrix).indices[csr_array(matrix).data != 0], minlength=matrix.shape[1])
    return np.asarray(np.count_nonzero(matrix, axis=0))


def take(matrix: Any, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(k,) the entries at the coordinates."""
    if isinstance(matrix, Product):
        both: np.ndarray = matrix.rows[rows] & matrix.columns[columns]
        return both
    if not issparse(matrix):
        found: np.ndarray = matrix[rows, columns]
        return found
    if len(rows) == 0:
        return np.zeros(0, dtype=matrix.dtype)
    picked = csr_array(matrix)[rows, columns]
    return np.asarray(picked.toarray() if issparse(picked) else picked).ravel()


def diagonal(matrix: Any) -> np.ndarray:
    """(n,) the entries of the diagonal."""
    if isinstance(matrix, Product):
        return matrix.rows & matrix.columns
    return matrix.diagonal() if issparse(matrix) else np.diagonal(matrix)


_ROWS = 512


def any_along(matrix: Any, axis: int) -> np.ndarray:
    """Whether there is an entry other than 0 along an axis."""
    if issparse(matrix):
        return np.asarray((matrix != 0).sum(axis=axis)).ravel() > 0
    return np.asarray(matrix.any(axis=axis))


def entries(matrix: Any) -> np.ndarray:
    """All entries that can differ from 0, in no special order."""
    return matrix.data if issparse(matrix) else matrix.ravel()


def row_sums(matrix: Any) -> np.ndarray:
    """(rows, 1) sums of absolute values, without a copy of the whole matrix."""
    if issparse(matrix):
        return np.asarray(abs(matrix).sum(axis=1)).reshape(-1, 1)
    blocks = range(0, matrix.shape[0], _ROWS)
    sums = [np.abs(matrix[first : first + _ROWS]).sum(axis=1, keepdims=True) for first in blocks]
    return np.concatenate(sums) if sums else np.zeros((0, 1), dtype=matrix.dtype)


def square_sum(matrix: Any, block: int = 1 << 22) -> float:
    """Sum of squares in float64, without a float64 copy of the whole matrix."""
    flat = entries(matrix)
    return sum(
        float(np.sum(np.square(flat[start : start + block], dtype=np.float64))) for start in range(0, flat.size, block)
    )
