"""The columns of a target's regression: what each possible regulator's course does to the target's start-free rows.

Rows along a constant drive (A) and the others (B) are kept apart, for they have variances of their own. B rows are
centred over the trajectories of a part that has enough of them: a time course that all trajectories share says nothing
of who drives whom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dash_hpc.evidence.rows import Part
from dash_hpc.evidence.state import FloatArray, IntArray, phi

__all__ = ["Features", "Rows", "columns_of", "products_of", "rows_of"]


@dataclass(frozen=True, eq=False)
class Features:
    """φ of all genes, centred.

    Attributes
    ----------
    blocks : tuple of (U, N, G) float64
        Per block, by time of the grid, trajectory and gene.
    centre : (G,) float64
        What was taken off: the mean over all blocks, trajectories and times of the grid.
    """

    blocks: tuple[FloatArray, ...]
    centre: FloatArray

    @classmethod
    def of_courses(cls, courses: Sequence[FloatArray]) -> Features:
        """From expression (N, U, G) per block."""
        values = [np.ascontiguousarray(phi(course).transpose(1, 0, 2)) for course in courses]
        points = sum(value.shape[0] * value.shape[1] for value in values)
        centre = sum(value.sum(axis=(0, 1)) for value in values) / points
        for value in values:
            value -= centre
        return cls(tuple(values), np.asarray(centre))


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one target, as measured.

    Attributes
    ----------
    drive : (n_A,) float64
    others : (n_B,) float64
        Centred where they are to be.
    constant : (n_A,) float64
        What a constant drive of 1 is in the A rows; it is 0 in the others.
    free_others : int
        n_B less what centring took.
    points : float
        Mean number of values that a trajectory's rows were made from.
    """

    drive: FloatArray
    others: FloatArray
    constant: FloatArray
    free_others: int
    points: float

    def __len__(self) -> int:
        return len(self.drive)


def rows_of(parts: Sequence[Part]) -> Rows:
    """Return the rows of a target in the order in which :func:`columns_of` has its columns."""
    drive = [part.z[:, 0] for part in parts]
    others = [_centred(part, part.z[:, 1:].T[..., None]).ravel() for part in parts]
    constant = [np.full(len(part.members), part.constant[0]) for part in parts]
    free = sum(block.size - part.centred * (len(part.points) - 2) for part, block in zip(parts, others, strict=True))
    n = sum(len(part.members) for part in parts)
    points = sum(len(part.members) * len(part.points) for part in parts) / max(n, 1)
    return Rows(_joined(drive), _joined(others), _joined(constant), free, points)


def columns_of(
    parts: Sequence[Part], features: Features, genes: IntArray, shift: Sequence[FloatArray] | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return the columns of genes: (n_A, C) and (n_B, C).

    ``shift`` : per block (N, U, C), what is added to the features.
    """
    drive: list[FloatArray] = [np.empty((0, len(genes)))]
    others: list[FloatArray] = [np.empty((0, len(genes)))]
    for part in parts:
        block = features.blocks[part.block]
        if shift is not None:
            values = _chosen(block, part.members, genes) + shift[part.block][part.members].transpose(1, 0, 2)
            rows = _through(part, values)
        elif 2 * len(genes) > block.shape[2]:  # choosing after the product moves less
            rows = np.take(_through(part, _of_members(block, part.members)), genes, axis=2)
        else:
            rows = _through(part, _chosen(block, part.members, genes))
        _append(part, rows, drive, others)
    return np.concatenate(drive), np.concatenate(others)


def products_of(parts: Sequence[Part], features: Features, pairs: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return the columns of the products of pairs (q, 2) of genes: (n_A, q) and (n_B, q)."""
    drive: list[FloatArray] = [np.empty((0, len(pairs)))]
    others: list[FloatArray] = [np.empty((0, len(pairs)))]
    for part in parts:
        left, right = (_chosen(features.blocks[part.block], part.members, genes) for genes in pairs.T)
        _append(part, _through(part, left * right), drive, others)
    return np.concatenate(drive), np.concatenate(others)


def _of_members(block: FloatArray, members: IntArray) -> FloatArray:
    """(U, N', G) of (U, N, G)."""
    return np.take(block, members, axis=1) if len(members) < block.shape[1] else block


def _chosen(block: FloatArray, members: IntArray, genes: IntArray) -> FloatArray:
    """(U, N', C) of (U, N, G)."""
    return np.take(_of_members(block, members), genes, axis=2)


def _through(part: Part, values: FloatArray) -> FloatArray:
    """(K - 1, N, C) rows of functions (U, N, C)."""
    weights = part.rows.T @ part.weights
    return np.asarray((weights @ values.reshape(len(values), -1)).reshape(len(weights), *values.shape[1:]))


def _append(part: Part, rows: FloatArray, drive: list[FloatArray], others: list[FloatArray]) -> None:
    drive.append(rows[0])
    centred = _centred(part, rows[1:])
    others.append(centred.reshape(centred.shape[0] * centred.shape[1], centred.shape[2]))


def _centred(part: Part, rows: FloatArray) -> FloatArray:
    """(K - 2, N, C) rows other than that of the drive."""
    return rows - rows.mean(axis=1, keepdims=True) if part.centred else rows


def _joined(pieces: Sequence[FloatArray]) -> FloatArray:
    return np.concatenate(pieces) if pieces else np.empty(0)
