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
from dash_hpc.ops import drive_fit
from dash_hpc.ops.drive_fit import Piece
from dash_hpc.ops.threads import map_in_threads

__all__ = ["Drive", "fit_drive", "fit_drives", "pieces_of"]


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
    threads: int = 1,
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
    threads : int, default 1
        So many targets are fitted side by side; what is found does not depend on it.

    Returns
    -------
    dict of int to Drive
        By target, in the order of the state; those without rows have none.
    """

    def fit(target: Target) -> Drive | None:
        gene, here = target.gene, smoothed.courses
        if not parts[gene]:
            return None
        own = np.sort(np.asarray(regulators.get(gene, ()), dtype=np.int64))
        courses = smoothed.cavity(gene, own) if isinstance(smoothed, Smoothing) else [x[:, :, own] for x in here]
        return fit_drive(own, pieces_of(target, parts[gene], courses, bool(state.constant[own].all())))

    found = map_in_threads(fit, state.targets.values(), threads, "fit_drives")
    return {gene: drive for gene, drive in zip(state.targets, found, strict=True) if drive is not None}


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
    """Fit the drive to the rows; the product is in where the evidence is higher with it.

    :func:`dash_hpc.ops.drive_fit.fit_drive` says how.

    Parameters
    ----------
    regulators : (k,) int64
    pieces : sequence of Piece
        At least one row together; of equal k.

    Returns
    -------
    Drive
    """
    found, k = drive_fit.fit_drive(pieces), len(regulators)
    if found.gained > 0:
        level, gain = float(found.whole[0]), float(found.whole[1 + k])
        return Drive(regulators, level, found.whole[1 : 1 + k], gain, found.whole[2 + k :], True, found.gained)
    return Drive(regulators, float(found.sums[0]), found.sums[1:], 0.0, np.zeros(k), False, found.gained)
