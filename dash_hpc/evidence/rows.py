"""Start-free rows: a gene's course without the value that it starts from.

A gene with x' = v (c - x) has x(t_k) = x_0 exp(-v t_k) + (W c)_k with (W c)_k = ∫ v exp(-v (t_k - s)) c(s) ds from 0
to t_k. Rows that are orthogonal to e = (exp(-v t_k))_k do not hold x_0: for them the measured course is linear in the
drive c, whatever the noise on the value at the start was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dash_hpc.data.checks import FloatArray
from dash_hpc.evidence.blocks import Block, IntArray

__all__ = ["CENTRED_FROM", "Part", "Parts", "drive_weights", "parts_of", "row_basis"]

#: Trajectories of a part from which on its rows other than that of the drive are centred over them.
CENTRED_FROM = 10
#: Bytes that the rows of all genes together may keep.
_ROOM = 2**28


def drive_weights(rate: ArrayLike, grid: FloatArray, at: IntArray) -> FloatArray:
    """Return weights W with W @ c = ∫ v exp(-v (t_k - s)) c(s) ds from ``grid[0]`` to t_k = ``grid[at[k]]``.

    Exact for c that is piecewise linear on the grid.

    Parameters
    ----------
    rate : float or (J,) array
        v, 0 or more, per unit of time.
    grid : (U,) float64
    at : (K,) int64

    Returns
    -------
    (K, U) or (J, K, U) float64
    """
    v = np.atleast_1d(np.asarray(rate, dtype=np.float64))
    x = v[:, None] * np.diff(grid)
    fall = -np.expm1(-x)
    # 1 - (1 - exp(-x)) / x, by its series where that would cancel
    safe = np.where(x > 1e-3, x, 1.0)
    end = np.where(x > 1e-3, 1.0 - fall / safe, x * (1 / 2 - x * (1 / 6 - x * (1 / 24 - x / 120))))
    past = grid[at][:, None] - grid[None, 1:]
    reach = np.where(past >= 0, np.exp(-v[:, None, None] * np.maximum(past, 0.0)), 0.0)
    weights = np.zeros((len(v), len(at), len(grid)))
    weights[:, :, :-1] += reach * (fall - end)[:, None]
    weights[:, :, 1:] += reach * end[:, None]
    return weights if np.ndim(rate) else np.ascontiguousarray(weights[0])


def row_basis(rate: float, times: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the direction of the start and an orthonormal basis of all that is orthogonal to it.

    Parameters
    ----------
    rate : float
        v, 0 or more.
    times : (K,) float64
        2 or more.

    Returns
    -------
    start : (K,) float64
        Along (exp(-v t_k))_k, of length 1.
    rows : (K, K - 1) float64
        The first column holds what of a constant drive's course, 1 - exp(-v t), is orthogonal to the start.
    """
    fall = np.exp(-rate * (times - times[0]))
    basis = np.eye(len(times))
    for k, direction in enumerate((fall, 1.0 - fall)):
        # reflect axis k onto what is left of the direction: K² steps, where a factorisation takes K³
        mirror = direction @ basis[:, k:]
        if length := float(np.linalg.norm(mirror)):
            mirror[0] += np.copysign(length, mirror[0])
            mirror /= np.linalg.norm(mirror)
            basis[:, k:] -= np.outer(2.0 * (basis[:, k:] @ mirror), mirror)
        if basis[:, k] @ direction < 0:
            basis[:, k] *= -1
    return np.ascontiguousarray(basis[:, 0]), np.ascontiguousarray(basis[:, 1:])


@dataclass(frozen=True, eq=False)
class Part:
    """The rows of one gene in trajectories of one block in which it was measured at the same times.

    Attributes
    ----------
    block : int
        Number of the block.
    members : (N,) int64
        Trajectories: their places in the block.
    points : (K,) int64
        The times at which the gene was measured: their places in ``block.times``; 2 or more.
    fall : (K,) float64
        exp(-v t_k), t from the block's first time on.
    start : (K,) float64
        The direction of the start, of length 1.
    rows : (K, K - 1) float64
        The basis of the rows; the first is that of the drive.
    weights : (K, U) float64
        Values of the drive on the block's grid -> its share of the course.
    constant : (K - 1,) float64
        Rows of a constant drive of 1: positive, then 0.
    z : (N, K - 1) float64
        The rows as measured, not centred.
    centred : bool
        Whether rows other than the first are to be centred over the trajectories, data and features alike.
    """

    block: int
    members: IntArray
    points: IntArray
    fall: FloatArray
    start: FloatArray
    rows: FloatArray
    weights: FloatArray
    constant: FloatArray
    z: FloatArray
    centred: bool

    @property
    def nbytes(self) -> int:
        """Memory that its arrays take."""
        arrays = self.members, self.points, self.fall, self.start, self.rows, self.weights, self.constant, self.z
        return sum(array.nbytes for array in arrays)


def parts_of(blocks: Sequence[Block], gene: int, rate: float) -> tuple[Part, ...]:
    """Return the rows of a gene that relaxes with a rate; a trajectory with fewer than two of its values has none."""
    parts = []
    for number, block in enumerate(blocks):
        values = block.values[:, :, gene]
        for members, points in patterns(~np.isnan(values)):
            if len(points) < 2:
                continue
            times = block.times[points]
            start, rows = row_basis(rate, times)
            weights = drive_weights(rate, block.grid, block.at[points])
            fall = np.exp(-rate * times)
            z = values[np.ix_(members, points)] @ rows
            centred = len(members) >= CENTRED_FROM
            parts.append(Part(number, members, points, fall, start, rows, weights, rows.T @ (1 - fall), z, centred))
    return tuple(parts)


class Parts(Mapping[int, tuple[Part, ...]]):
    """The rows of many genes, each at its rate: made when they are asked for, and kept as long as there is room.

    The matrices of one gene that was measured at 178 times take half a megabyte.

    Parameters
    ----------
    blocks : sequence of Block
    genes : iterable of int
        Whose rows these are, in this order.
    rates : (G,) float64
        Of all genes.
    room : int, default 256 MiB
        Bytes that may be kept. The rows are the same whatever it is.
    """

    def __init__(self, blocks: Sequence[Block], genes: Iterable[int], rates: FloatArray, room: int = _ROOM) -> None:
        self._blocks, self._rates, self._room = blocks, rates, room
        self._kept: dict[int, tuple[Part, ...] | None] = dict.fromkeys(genes)

    def __getitem__(self, gene: int) -> tuple[Part, ...]:
        if (found := self._kept[gene]) is None:
            found = parts_of(self._blocks, gene, float(self._rates[gene]))
            size = sum(part.nbytes for part in found)
            if size <= self._room:
                self._kept[gene] = found
                self._room -= size
        return found

    def __iter__(self) -> Iterator[int]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


def patterns(observed: NDArray[np.bool_]) -> list[tuple[IntArray, IntArray]]:
    """Return the rows that share each pattern of ``observed`` (N, K), and the columns that are True in it."""
    if observed.all():
        return [(np.arange(len(observed)), np.arange(observed.shape[1]))]
    kinds, which = np.unique(observed, axis=0, return_inverse=True)
    return [(np.flatnonzero(which.ravel() == k), np.flatnonzero(kind)) for k, kind in enumerate(kinds)]
