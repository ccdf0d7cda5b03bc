"""The drive of one target, fitted to its start-free rows on its accepted regulators.

c(x) = kappa + sum_i u_i phi(x_i) + gain * exp(sum_i w_i log(1 + phi(x_i))): what PHOENIX computes with a unit of sums
per regulator and one unit of products. The courses of the regulators are smoothed ones (Berkson regression), so that
their noise does not weaken the coefficients, and the rows are linear in c.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dash_hpc.evidence.rows import Part
from dash_hpc.evidence.smooth import Smoothing
from dash_hpc.evidence.state import FloatArray, IntArray, Smoothed, State, Target, phi

__all__ = ["Drive", "Piece", "fit_drive", "fit_drives", "pieces_of"]

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
    courses : (U, N, k)
        Regulators' courses on the grid; U = 1 where all of them are constant, then ``rows`` are summed over the grid.
    rows : (r, U)
        Weights of the drive on the grid, each row divided by its standard deviation.
    data : (r, N)
        The rows' values, divided likewise.
    """

    courses: FloatArray
    rows: FloatArray
    data: FloatArray


@dataclass(frozen=True, eq=False)
class Drive:
    """A target's drive.

    Attributes
    ----------
    regulators : (k,) int64
        Ascending.
    level : float
        kappa.
    slopes : (k,)
        u, of the sums.
    gain : float
        Of the product; 0 without one.
    powers : (k,)
        w, of the product; 0 without one.
    has_product : bool
    gained : float
        ln of the evidence with the product over that without, by Laplace's approximation; nan where k = 0.
    """

    regulators: IntArray
    level: float
    slopes: FloatArray
    gain: float
    powers: FloatArray
    has_product: bool
    gained: float

    def __call__(self, courses: FloatArray) -> FloatArray:
        """Return the drive (...,) at regulators' values (..., k)."""
        value: FloatArray = self.level + phi(courses) @ self.slopes
        if self.has_product:
            value = value + self.gain * np.exp(np.log1p(phi(courses)) @ self.powers)
        return value


def fit_drives(
    parts: Mapping[int, Sequence[Part]],
    state: State,
    smoothed: Smoothed,
    regulators: Mapping[int, IntArray],
) -> dict[int, Drive]:
    """Fit every target on its accepted regulators.

    Parameters
    ----------
    parts : mapping of int to sequence of Part
        Rows of each target, at its rate.
    state : State
        Its variances weigh the rows.
    smoothed : Smoothed
        Regulators' courses; smoothed ones are taken as they are without the target's own data.
    regulators : mapping of int to (k,) int64
        Of each target; left out, it has none.

    Returns
    -------
    dict of int to Drive
        By target, in the order of the state; those without rows have none.
    """
    found = {}
    for gene, target in state.targets.items():
        if not parts[gene]:
            continue
        own = np.sort(np.asarray(regulators.get(gene, ()), dtype=np.int64))
        here = smoothed.courses
        courses = smoothed.cavity(gene, own) if isinstance(smoothed, Smoothing) else [x[:, :, own] for x in here]
        found[gene] = fit_drive(own, pieces_of(target, parts[gene], courses, bool(state.constant[own].all())))
    return found


def pieces_of(target: Target, parts: Sequence[Part], courses: Sequence[FloatArray], constant: bool) -> list[Piece]:
    """Return the rows of a target, each divided by its standard deviation.

    ``courses`` (N, U, k) of its regulators stand by block; with ``constant`` none of them moves.
    """
    found = []
    for part in parts:
        scale = 1 / np.sqrt(np.r_[target.drive_variance, np.full(len(part.points) - 2, target.other_variance)])
        rows = scale[:, None] * (part.rows.T @ part.weights)
        course = courses[part.block][part.members].transpose(1, 0, 2)
        if constant:
            rows, course = rows.sum(axis=1, keepdims=True), course[:1]
        found.append(Piece(np.ascontiguousarray(course), rows, scale[:, None] * part.z.T))
    return found


def fit_drive(regulators: IntArray, pieces: Sequence[Piece]) -> Drive:
    """Fit the drive to the rows: maximum a posteriori, with the product where the evidence is higher with it.

    Ridges are Gaussian priors of sd 1.5 on u, gain and w and 10 on kappa. Without the product the problem is linear.
    With it the search begins twice: at an AND, where the powers are the sums' slopes over the mean drive, and at an OR,
    the complement of an AND of complements, where they are those over (mean drive - 1); either denominator is at least
    0.1. Deterministic.

    Parameters
    ----------
    regulators : (k,) int64
    pieces : sequence of Piece
        At least one row together; of equal k.

    Returns
    -------
    Drive
    """
    k = pieces[0].courses.shape[2]
    data = np.concatenate([piece.data.ravel() for piece in pieces])
    ones = np.concatenate([np.repeat(piece.rows.sum(1), piece.data.shape[1]) for piece in pieces])
    linear = np.concatenate([ones[:, None], _rows(pieces, [phi(piece.courses) for piece in pieces])], 1)
    ridge = np.r_[1 / _SD_LEVEL**2, np.full(k, 1 / _SD_COEFFICIENT**2)]
    gram = linear.T @ linear + np.diag(ridge)
    sums = np.linalg.solve(gram, linear.T @ data)
    rest = data - linear @ sums
    evidence = _laplace(rest @ rest + ridge @ sums**2, ridge, gram)
    none = np.zeros(k)
    if k == 0:
        return Drive(regulators, float(sums[0]), none, 0.0, none, False, float("nan"))
    search = _Search(pieces, linear, data, ridge)
    mean = float(linear[:, 0] @ data / (linear[:, 0] @ linear[:, 0] + ridge[0]))
    slopes = sums[1:]
    both, either = slopes / max(mean, _LEAST_LEVEL), -slopes / max(1.0 - mean, _LEAST_LEVEL)
    found, best = max((search.run(start) for start in (both, either)), key=lambda found: found[1])
    gained = float(best - evidence)
    if gained > 0:
        return Drive(regulators, float(found[0]), found[1 : 1 + k], float(found[1 + k]), found[2 + k :], True, gained)
    return Drive(regulators, float(sums[0]), sums[1:], 0.0, none, False, gained)


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
        self.logs = [np.log1p(phi(piece.courses)) for piece in pieces]
        self.k = linear.shape[1] - 1
        self.ridge = np.r_[ridge, np.full(1 + self.k, 1 / _SD_COEFFICIENT**2)]

    def run(self, powers: FloatArray) -> tuple[FloatArray, float]:
        """Return kappa, u, gain and w of the optimum reached from ``powers``, and the log of its evidence."""
        k, damping = self.k, 1e-2
        here = self._at(powers)
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
        cost = rest @ rest + self.ridge @ np.r_[coefficients, powers] ** 2
        return _Point(float(cost), coefficients, grids, columns, gram, rest)

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


def _laplace(cost: float, ridge: FloatArray, curvature: FloatArray) -> float:
    """Log evidence, without the constants that all models of the same rows share."""
    return float(-0.5 * cost + 0.5 * np.log(ridge).sum() - 0.5 * np.linalg.slogdet(curvature)[1])
