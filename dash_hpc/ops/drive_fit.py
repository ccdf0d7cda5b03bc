"""The drive of one target, fitted to its rows on the courses of its regulators.

c(x) = kappa + sum_i u_i phi(x_i) + gain * exp(sum_i w_i log(1 + phi(x_i))), with phi(x) = u / (1 + |u|), u = x - 1/2;
or the same without the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dash_hpc.errors import UsageError
from dash_hpc.ops.bayes import FloatArray
from dash_hpc.ops.checks import as_array, as_floats
from dash_hpc.ops.native import native_module
from dash_hpc.ops.threads import stop_token

__all__ = ["DriveFit", "Piece", "fit_drive"]

#: Prior standard deviations of the coefficients u, gain and w, and of the level kappa.
_SD_COEFFICIENT, _SD_LEVEL = 1.5, 10.0
_MOST_STEPS, _MOST_TRIES = 40, 6
#: A step that lowers the weighted squared error by less ends the search: 1 would be half a nat.
_ENOUGH = 1e-4
_LEAST_LEVEL = 0.1


@dataclass(frozen=True, eq=False)
class Piece:
    """Rows of a target that share one matrix: those of trajectories observed at the same times.

    Attributes
    ----------
    courses : (U, N, k) float64
        Regulators' courses on the grid; U = 1 where all of them are constant, then ``rows`` are summed over the grid.
    rows : (r, U) float64
        Weights of the drive on the grid, each row divided by its standard deviation.
    data : (r, N) float64
        The rows' values, divided likewise.
    """

    courses: FloatArray
    rows: FloatArray
    data: FloatArray


@dataclass(frozen=True, eq=False)
class DriveFit:
    """Coefficients, and what they are worth.

    Attributes
    ----------
    sums : (1 + k,) float64
        kappa and u of the best drive without a product.
    whole : (2 + 2 k,) float64
        kappa, u, gain and w of the best drive with one; 0 where k = 0 or every search overflowed.
    gained : float
        ln of the evidence with the product over that without, by Laplace's approximation; nan where k = 0, minus
        infinity where every search overflowed.
    """

    sums: FloatArray
    whole: FloatArray
    gained: float


def fit_drive(pieces: Sequence[Piece]) -> DriveFit:
    """Fit the drive to the rows, maximum a posteriori, without and with the product.

    Ridges are Gaussian priors of sd 1.5 on u, gain and w and 10 on kappa. Without the product the problem is linear.
    With it the search begins twice: at an AND, where the powers are the sums' slopes over the mean drive, and at an OR,
    the complement of an AND of complements, where they are those over (mean drive - 1); either denominator is at least
    0.1. Deterministic.

    Parameters
    ----------
    pieces : sequence of Piece
        One or more, at least one row together; of equal k.

    Raises
    ------
    UsageError
        No piece, or shapes that do not fit.
    """
    given = _checked(pieces)
    native = native_module()
    if native is None:
        return fit(given)
    return DriveFit(
        *native.fit_drive(
            [(piece.courses, piece.rows, piece.data) for piece in given], _SD_LEVEL**-2, _SD_COEFFICIENT**-2,
            _LEAST_LEVEL, _ENOUGH, _MOST_STEPS, _MOST_TRIES, stop_token(),
        )
    )  # fmt: skip


def _checked(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces with all arrays as the native module takes them."""
    if not pieces:
        raise UsageError("pieces must hold at least one")
    found: list[Piece] = []
    for piece in pieces:
        courses, rows = (as_array(values, np.float64, name) for values, name in
                         ((piece.courses, "courses"), (piece.rows, "rows")))  # fmt: skip
        if courses.ndim != 3 or rows.ndim != 2:
            raise UsageError(f"courses must have 3 axes and rows 2, got {courses.ndim} and {rows.ndim}")
        points, n, k = courses.shape
        if found and k != found[0].courses.shape[2]:
            raise UsageError("courses must be of equally many regulators in all pieces")
        as_floats(rows, (len(rows), points), "rows")
        data = as_array(as_floats(piece.data, (len(rows), n), "data"), np.float64, "data")
        found.append(Piece(courses, rows, data))
    return found


def fit(pieces: Sequence[Piece]) -> DriveFit:
    """The meaning of the native operator."""
    k = pieces[0].courses.shape[2]
    data = np.concatenate([piece.data.ravel() for piece in pieces])
    ones = np.concatenate([np.repeat(piece.rows.sum(1), piece.data.shape[1]) for piece in pieces])
    linear = np.concatenate([ones[:, None], _rows(pieces, [_phi(piece.courses) for piece in pieces])], 1)
    ridge = np.r_[1 / _SD_LEVEL**2, np.full(k, 1 / _SD_COEFFICIENT**2)]
    gram = linear.T @ linear + np.diag(ridge)
    sums = np.linalg.solve(gram, linear.T @ data)
    rest = data - linear @ sums
    evidence = _laplace(rest @ rest + ridge @ sums**2, ridge, gram)
    if k == 0:
        return DriveFit(sums, np.zeros(2), float("nan"))
    search = _Search(pieces, linear, data, ridge)
    mean = float(linear[:, 0] @ data / (linear[:, 0] @ linear[:, 0] + ridge[0]))
    slopes = sums[1:]
    both, either = slopes / max(mean, _LEAST_LEVEL), -slopes / max(1.0 - mean, _LEAST_LEVEL)
    whole, best = max((search.run(start) for start in (both, either)), key=lambda found: found[1])
    return DriveFit(sums, whole, float(best - evidence))


@dataclass(frozen=True, eq=False)
class _Point:
    """The best drive with given powers of the product: kappa, u and gain are linear then.

    Attributes
    ----------
    cost : float
        Weighted squared error and ridges.
    coefficients : (2 + k,) float64
        kappa, u, gain.
    grids : list of (U, N)
        The unit of products on the grid.
    columns : (R, 2 + k) float64
        Of the rows, by coefficient.
    gram : (2 + k, 2 + k) float64
        Of the columns, ridges on top.
    rest : (R,) float64
    """

    cost: float
    coefficients: FloatArray
    grids: list[FloatArray]
    columns: FloatArray
    gram: FloatArray
    rest: FloatArray


class _Search:
    """Levenberg-Marquardt over the powers w; at each of them kappa, u and gain are the best (variable projection)."""

    def __init__(self, pieces: Sequence[Piece], linear: FloatArray, data: FloatArray, ridge: FloatArray) -> None:
        self.pieces, self.linear, self.data = pieces, linear, data
        self.logs = [np.log1p(_phi(piece.courses)) for piece in pieces]
        self.k = linear.shape[1] - 1
        self.ridge = np.r_[ridge, np.full(1 + self.k, 1 / _SD_COEFFICIENT**2)]

    def run(self, powers: FloatArray) -> tuple[FloatArray, float]:
        """Return kappa, u, gain and w of the optimum reached from ``powers``, and the log of its evidence.

        Zeros and minus infinity where the product overflows at the start.
        """
        k, damping = self.k, 1e-2
        here = self._at(powers)
        if here.cost == np.inf:
            return np.zeros(2 + 2 * k), -np.inf
        for _ in range(_MOST_STEPS):
            moves = self._moves(here)
            cross = here.columns.T @ moves
            gram = moves.T @ moves - cross.T @ np.linalg.solve(here.gram, cross)
            gram[np.diag_indices(k)] += self.ridge[2 + k :]
            slope = moves.T @ here.rest - self.ridge[2 + k :] * powers
            for _ in range(_MOST_TRIES):
                damped = gram.copy()
                damped[np.diag_indices(k)] += damping * (np.diag(gram) + 1e-3)
                there = powers + np.linalg.solve(damped, slope)
                trial = self._at(there)
                if trial.cost < here.cost:
                    break
                damping *= 5.0
            else:
                break
            gain = here.cost - trial.cost
            powers, here = there, trial
            damping = max(damping / 5.0, 1e-6)
            if gain < _ENOUGH:
                break
        moves = self._moves(here)
        cross = here.columns.T @ moves
        curvature = np.block([[here.gram, cross], [cross.T, moves.T @ moves + np.diag(self.ridge[2 + k :])]])
        return np.r_[here.coefficients, powers], _laplace(here.cost, self.ridge, curvature)

    def _at(self, powers: FloatArray) -> _Point:
        """Find the best linear coefficients; infinite cost where the unit overflows."""
        k = self.k
        with np.errstate(over="ignore", invalid="ignore"):
            grids = [np.exp(log @ powers) for log in self.logs]
            unit = np.concatenate([(piece.rows @ grid).ravel() for piece, grid in zip(self.pieces, grids, strict=True)])
            columns = np.concatenate([self.linear, unit[:, None]], 1)
            gram = columns.T @ columns
        if not np.isfinite(gram).all():
            return _Point(np.inf, np.zeros(2 + k), grids, columns, gram, self.data)
        gram[np.diag_indices(2 + k)] += self.ridge[: 2 + k]
        coefficients = np.linalg.solve(gram, columns.T @ self.data)
        rest = self.data - columns @ coefficients
        cost = float(rest @ rest + self.ridge @ np.r_[coefficients, powers] ** 2)
        return _Point(cost if cost < np.inf else np.inf, coefficients, grids, columns, gram, rest)

    def _moves(self, at: _Point) -> FloatArray:
        """(R, k) derivatives of the rows in w."""
        grids = [grid[..., None] * log for grid, log in zip(at.grids, self.logs, strict=True)]
        return at.coefficients[-1] * _rows(self.pieces, grids)


def _rows(pieces: Sequence[Piece], grids: Sequence[FloatArray]) -> FloatArray:
    """Return the rows (R, k) of functions on the grid, (U, N, k) per piece."""
    found = []
    for piece, grid in zip(pieces, grids, strict=True):
        points, n, k = grid.shape
        found.append((piece.rows @ grid.reshape(points, n * k)).reshape(len(piece.rows) * n, k))
    return np.concatenate(found)


def _phi(x: FloatArray) -> FloatArray:
    u = x - 0.5
    return np.asarray(u / (1 + np.abs(u)))


def _laplace(cost: float, ridge: FloatArray, curvature: FloatArray) -> float:
    """Log evidence, without the constants that all models of the same rows share."""
    return float(-0.5 * cost + 0.5 * np.log(ridge).sum() - 0.5 * np.linalg.slogdet(curvature)[1])
