"""Smoothed courses: what all data of a trajectory say together, in a network as it stands, of every regulator.

A trajectory's latents are the levels of its constant regulators and the start values of its dynamic ones
(:mod:`dash_hpc.evidence.wiring`); everything measured in it is an observation of them, through the network. The
posterior is found by Gauss-Newton steps, as many trajectories of a block at once as memory allows
(:mod:`dash_hpc.evidence.posterior`).

What a target's regulators are taken to be must not come from the target's own data, or an edge would confirm itself:
:meth:`Smoothing.shift` takes the target's rows out again (the cavity), in closed form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dash_hpc.evidence.anchor import unbent
from dash_hpc.evidence.blocks import Block
from dash_hpc.evidence.population import Population
from dash_hpc.evidence.posterior import Posterior, bytes_of_one
from dash_hpc.evidence.rows import Part
from dash_hpc.evidence.state import FloatArray, IntArray, State
from dash_hpc.evidence.wiring import Wiring

__all__ = ["Smoothing", "smooth"]

#: Bytes for the trajectories of a block that are smoothed at once; for derivatives of genes that regulate nothing; and
#: for the covariances of all trajectories, which are kept where they fit.
_AT_ONCE, _MOVES, _SPREADS = 2**28, 2**29, 2**29


class Smoothing:
    """Courses smoothed in a network, and how they would be without one target's data.

    It is the :class:`dash_hpc.evidence.state.Smoothed` of the rounds after the first.

    Attributes
    ----------
    courses : tuple of (N, U, G) float64
        Per block.
    posteriors : tuple of tuple of Posterior
        Per block, of its trajectories in their order.
    """

    def __init__(self, posteriors: Sequence[Sequence[Posterior]], courses: Sequence[FloatArray]) -> None:
        self.posteriors, self.courses = tuple(tuple(found) for found in posteriors), tuple(courses)
        self._last: tuple[int, list[list[FloatArray | None]]] = (-1, [])

    def shift(self, target: int, genes: IntArray) -> tuple[FloatArray, ...] | None:
        """Per block: (N, U, C) change of φ of the genes when the data of the target are left out; None = none."""
        moved = self._moved(target, genes, features=True)
        return None if moved is None else tuple(moved)

    def cavity(self, target: int, genes: IntArray) -> tuple[FloatArray, ...]:
        """Per block: (N, U, C) courses of the genes as they are without the data of the target."""
        here = [courses[:, :, genes] for courses in self.courses]
        moved = self._moved(target, genes, features=False)
        return tuple(here if moved is None else (a + b for a, b in zip(here, moved, strict=True)))

    def drive_uncertainty(self, target: int) -> float | None:
        """Mean variance of the target's drive row due to uncertain courses, which its own data do not narrow."""
        found = [posterior.drive_uncertainty(target) for block in self.posteriors for posterior in block]
        count = sum(number for _, number in found)
        return sum(total for total, _ in found) / count if count else 0.0

    def _moved(self, target: int, genes: IntArray, *, features: bool) -> list[FloatArray] | None:
        last = self._last  # it is asked for several times in a row, perhaps for several targets side by side
        if last[0] != target:
            last = target, [[posterior.without(target) for posterior in block] for block in self.posteriors]
            self._last = last
        steps = last[1]
        if all(step is None for block in steps for step in block):
            return None
        found = []
        for posteriors, own, courses in zip(self.posteriors, steps, self.courses, strict=True):
            pieces = [
                posterior.moved(step, genes, courses[posterior.chosen] if features else None)
                for posterior, step in zip(posteriors, own, strict=True)
            ]
            found.append(pieces[0] if len(pieces) == 1 else np.concatenate(pieces))
        return found


def smooth(
    blocks: Sequence[Block],
    parts: Mapping[int, Sequence[Part]],
    state: State,
    rates: FloatArray,
    courses: Sequence[FloatArray],
    *,
    anchored: bool = True,
    asked: Mapping[int, IntArray] | None = None,
) -> Smoothing:
    """Smooth all courses in the network as it stands.

    Parameters
    ----------
    blocks : sequence of Block
    parts : mapping of int to sequence of Part
        Rows of each target of the state, at its rate.
    state : State
        Members, coefficients, variances and excess variances of the targets.
    rates : (G,) float64
        Per unit of the blocks' time; those of constant genes are not read.
    courses : sequence of (N, U, G) float64
        Per block; where the search starts from, and the courses of genes without rows.
    anchored : bool, default True
        Whether levels are held to their own measurements (:func:`dash_hpc.evidence.anchor.unbent`).
    asked : mapping of int to (C,) int64, optional
        Genes of whose courses the result will be asked without each target. Read where the covariances of all latents
        would take more than half a gigabyte; then no other gene is moved.

    Notes
    -----
    At most 3 Gauss-Newton steps, fewer where none moves a latent by 0.001. Genes that regulate nothing follow their
    drive from the start that fits their own data.
    """
    targets = {gene for gene in state.targets if parts.get(gene)}
    wiring = Wiring.of(state, targets)
    population = Population.of_blocks(blocks, state, wiring, courses)
    number = sum(len(block.trajectories) for block in blocks)
    if 8 * number * len(wiring) ** 2 <= _SPREADS:
        asked = None
    found, posteriors = [np.array(course) for course in courses], []
    for place, (block, course) in enumerate(zip(blocks, found, strict=True)):
        n = len(block.trajectories)
        size = min(n, max(1, _AT_ONCE // bytes_of_one(block, wiring)))
        pieces = [slice(first, min(first + size, n)) for first in range(0, n, size)]
        posteriors.append(
            [
                Posterior(
                    place, block, piece, parts, state, wiring, rates, course[piece], population, asked,
                    _MOVES * (piece.stop - piece.start) // number,
                )
                for piece in pieces
            ]
        )  # fmt: skip
    if anchored:
        _anchor(blocks, posteriors, wiring, found, state.noise)
    return Smoothing(posteriors, found)


def _anchor(
    blocks: Sequence[Block],
    posteriors: Sequence[Sequence[Posterior]],
    wiring: Wiring,
    courses: Sequence[FloatArray],
    noise: float,
) -> None:
    """Take the bend out of the levels; all blocks tell it together."""
    ends = np.cumsum([len(block.trajectories) for block in blocks])[:-1]
    variances = np.concatenate([posterior.variance for found in posteriors for posterior in found])
    for latent, gene in enumerate(wiring.levels.tolist()):
        values = [block.values[:, :, gene] for block in blocks]
        seen = [~np.isnan(value) for value in values]
        count = np.concatenate([found.sum(axis=1) for found in seen])
        total = np.concatenate(
            [np.where(found, value, 0.0).sum(axis=1) for found, value in zip(seen, values, strict=True)]
        )
        level = np.concatenate([course[:, 0, gene] for course in courses])
        bend = unbent(level, variances[:, latent], total / np.maximum(count, 1), count / noise)
        for course, own in zip(courses, np.split(bend, ends), strict=True):
            course[:, :, gene] += own[:, None]
