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
#: Bytes of the matrices that are made together.
_AT_ONCE = 2**23


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


def row_basis(rate: ArrayLike, times: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the direction of the start and an orthonormal basis of all that is orthogonal to it.

    Parameters
    ----------
    rate : float or (J,) array
        v, 0 or more.
    times : (K,) float64
        2 or more.

    Returns
    -------
    start : (K,) or (J, K) float64
        Along (exp(-v t_k))_k, of length 1.
    rows : (K, K - 1) or (J, K, K - 1) float64
        The first column holds what of a constant drive's course, 1 - exp(-v t), is orthogonal to the start.
    """
    v = np.atleast_1d(np.asarray(rate, dtype=np.float64))
    fall = np.exp(-v[:, None] * (times - times[0]))
    basis = np.repeat(np.eye(len(times))[None], len(v), axis=0)
    for k, direction in enumerate((fall, 1.0 - fall)):
        # reflect axis k onto what is left of the direction: K² steps, where a factorisation takes K³
        rest = basis[:, :, k:]
        mirror = (direction[:, None] @ rest)[:, 0]
        mirror[:, 0] += np.copysign(np.sqrt((mirror**2).sum(axis=1)), mirror[:, 0])
        square = (mirror**2).sum(axis=1, keepdims=True)
        rest -= (rest @ mirror[:, :, None]) * (mirror * np.where(square > 0, 2 / np.maximum(square, 1e-300), 0.0))[
            :, None
        ]
        against = (basis[:, :, k] * direction).sum(axis=1) < 0
        basis[against, :, k] *= -1
    start, rows = np.ascontiguousarray(basis[:, :, 0]), np.ascontiguousarray(basis[:, :, 1:])
    return (start, rows) if np.ndim(rate) else (start[0], rows[0])


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
    across : (K - 1, U) float64
        Values of the drive on the block's grid -> rows.
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
    across: FloatArray
    constant: FloatArray
    z: FloatArray
    centred: bool


def parts_of(blocks: Sequence[Block], gene: int, rate: float) -> tuple[Part, ...]:
    """Return the rows of a gene that relaxes with a rate; a trajectory with fewer than two of its values has none."""
    return _together(blocks, np.array([gene]), np.array([rate]))[0]


def _together(blocks: Sequence[Block], genes: IntArray, rates: FloatArray) -> list[tuple[Part, ...]]:
    """The rows of genes (J,) with rates (J,); of equal rates and measured at the same times they share matrices."""
    found: list[list[Part]] = [[] for _ in genes]
    for number, block in enumerate(blocks):
        values = np.ascontiguousarray(block.values[:, :, genes].transpose(2, 0, 1))
        seen = ~np.isnan(values)
        whole = np.asarray(seen.all(axis=(1, 2)))
        every = np.arange(len(block.times))
        for members, points, chosen in [
            (np.arange(len(block.trajectories)), every, np.flatnonzero(whole)),
            *((*pattern, np.array([k])) for k in np.flatnonzero(~whole) for pattern in patterns(seen[k])),
        ]:
            if len(points) < 2 or not len(chosen):
                continue
            different, which = np.unique(rates[chosen], return_inverse=True)
            start, rows = row_basis(different, block.times[points])
            weights = drive_weights(different, block.grid, block.at[points])
            fall = np.exp(-different[:, None] * block.times[points])
            across = np.swapaxes(rows, 1, 2) @ weights
            constant = ((1 - fall)[:, None] @ rows)[:, 0]
            centred = len(members) >= CENTRED_FROM
            for k, w in zip(chosen.tolist(), which.ravel().tolist(), strict=True):
                own = values[k] if whole[k] else values[k][np.ix_(members, points)]
                of_rate = fall[w], start[w], rows[w], weights[w], across[w], constant[w]
                found[k].append(Part(number, members, points, *of_rate, own @ rows[w], centred))
    return [tuple(own) for own in found]


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
        self._genes = np.fromiter(genes, dtype=np.int64)
        self._place = {gene: place for place, gene in enumerate(self._genes.tolist())}
        self._kept: dict[int, tuple[Part, ...]] = {}
        self._ahead: dict[int, tuple[Part, ...]] = {}
        each = sum(len(block.times) * (2 * len(block.times) + len(block.grid)) for block in blocks)
        self._together = max(1, _AT_ONCE // (8 * max(each, 1)))

    def __getitem__(self, gene: int) -> tuple[Part, ...]:
        place = self._place[gene]
        if (found := self._kept.get(gene)) is not None or (found := self._ahead.get(gene)) is not None:
            return found
        group = self._genes[place : place + self._together]
        made = dict(zip(group.tolist(), _together(self._blocks, group, self._rates[group]), strict=True))
        if self._room and (size := _bytes(made.values())) <= self._room:
            self._kept |= made
            self._room -= size
        else:  # they are mostly asked for in order
            self._ahead = made
        return made[gene]

    def __iter__(self) -> Iterator[int]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)


def _bytes(parts: Iterable[Sequence[Part]]) -> int:
    """Memory of all arrays of rows, those that several genes share once."""
    arrays = {}
    for own in parts:
        for part in own:
            for array in (part.z, part.fall, part.start, part.rows, part.weights, part.across, part.constant):
                whole = array if array.base is None else array.base
                arrays[id(whole)] = whole.nbytes
    return sum(arrays.values())


def patterns(observed: NDArray[np.bool_]) -> list[tuple[IntArray, IntArray]]:
    """Return the rows that share each pattern of ``observed`` (N, K), and the columns that are True in it."""
    if observed.all():
        return [(np.arange(len(observed)), np.arange(observed.shape[1]))]
    kinds, which = np.unique(observed, axis=0, return_inverse=True)
    return [(np.flatnonzero(which.ravel() == k), np.flatnonzero(kind)) for k, kind in enumerate(kinds)]
