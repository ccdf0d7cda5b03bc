"""Smoothed courses: what all data of a trajectory say together, in a network as it stands, of every regulator.

A trajectory's latents are the levels of its constant regulators and the start values of its dynamic ones
(:mod:`dash_hpc.evidence.wiring`); everything measured in it is an observation of them, through the network. The
posterior is found by Gauss-Newton steps, all trajectories of a block at once.

What a target's regulators are taken to be must not come from the target's own data, or an edge would confirm itself:
:meth:`Smoothing.shift` takes the target's rows out again (the cavity), in closed form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dash_hpc.evidence.anchor import unbent
from dash_hpc.evidence.blocks import Block
from dash_hpc.evidence.population import Population
from dash_hpc.evidence.rows import Part, drive_weights
from dash_hpc.evidence.state import FloatArray, IntArray, State, Target, phi_slope
from dash_hpc.evidence.tangent import Network, through
from dash_hpc.evidence.wiring import Wiring

__all__ = ["Posterior", "Smoothing", "smooth"]

_MOST_STEPS, _STILL = 3, 1e-3


@dataclass(frozen=True, eq=False)
class _Seen:
    """A target's data in the trajectories of one part, as observations of the latents of its reach.

    Attributes
    ----------
    members : (N,) int64, or a slice where they are all
        Trajectories: places in the block.
    rows : (N, r, k) float64
        Derivatives of k rows in the latents.
    rest : (N, k) float64
        What the rows have over what the network says.
    precision : (k,) float64
        Of the rows.
    drive : int
        Place of the drive's row; −1 without one.
    """

    members: IntArray | slice
    rows: FloatArray
    rest: FloatArray
    precision: FloatArray
    drive: int

    def at(self, *places: IntArray) -> Any:
        """Index of its trajectories and of ``places`` of the further axes, which broadcast with each other."""
        if isinstance(self.members, slice):
            return (self.members, *places)
        return (self.members.reshape(-1, *(1,) * places[0].ndim), *places)


@dataclass(frozen=True, eq=False)
class _Data:
    """What was measured of a gene in the trajectories of a part: ``values`` (N, K)."""

    part: Part
    members: IntArray | slice
    values: FloatArray

    @classmethod
    def of(cls, block: Block, gene: int, part: Part) -> _Data:
        whole = len(part.members) == len(block.trajectories)
        values = block.values[part.members[:, None], part.points, gene]
        return cls(part, slice(None) if whole else part.members, values)


class Posterior:
    """The latents of one block's trajectories, given all data, and what follows from them.

    Attributes
    ----------
    wiring : Wiring
        Says which latent is what.
    spread : (N, nz, nz) float64
        Covariances.
    courses : (G, U, N) float64
    moves : dict of int to (U, r, N) float64
        By gene, the derivative of its course in the latents of its reach.
    """

    def __init__(
        self,
        number: int,
        block: Block,
        parts: Mapping[int, Sequence[Part]],
        state: State,
        wiring: Wiring,
        rates: FloatArray,
        courses: FloatArray,
        population: Population,
    ) -> None:
        self.block, self.state, self.wiring, self.rates = block, state, wiring, rates
        self.targets = {gene: target for gene, target in state.targets.items() if gene in wiring.reach}
        own = {gene: [part for part in parts[gene] if part.block == number] for gene in self.targets}
        self.data = {gene: [_Data.of(block, gene, part) for part in found] for gene, found in own.items()}
        self.courses = np.ascontiguousarray(courses.transpose(2, 1, 0))
        self.network = Network(block, state, wiring, rates, self.courses)
        self.population = population
        self.seen: dict[int, list[_Seen]] = {}
        self.spread: FloatArray = np.zeros((len(block.trajectories), len(wiring), len(wiring)))
        self._settle()

    def _settle(self) -> None:
        levels, starts = self.wiring.levels, self.wiring.starts
        latents = np.concatenate([self.courses[levels, 0], self.courses[starts, 0]]).T
        step: FloatArray = np.zeros_like(latents)
        for _ in range(_MOST_STEPS):
            self.network.solve(latents)
            precision, gradient = self.population.of(self.block, latents)
            self.seen = {gene: self._observe(target, latents) for gene, target in self.targets.items()}
            for gene, found in self.seen.items():
                reach = self.wiring.reach[gene]
                for seen in found if len(reach) else ():
                    weighed = seen.rows * seen.precision
                    square = weighed @ seen.rows.transpose(0, 2, 1)
                    precision[seen.at(reach[:, None], reach)] += square
                    gradient[seen.at(reach)] += (weighed @ seen.rest[..., None])[..., 0]
            self.spread = np.asarray(np.linalg.inv(precision), dtype=np.float64)
            step = (self.spread @ gradient[..., None])[..., 0]
            latents = latents + step
            if np.abs(step).max(initial=0.0) < _STILL:
                break
        self._move(latents, step)

    def _observe(self, target: Target, latents: FloatArray) -> list[_Seen]:
        """Rows of a target: with the start's row where its start is a latent, and without it else."""
        latent, reach = self.wiring.place[target.gene], self.wiring.reach[target.gene]
        drive, moves = self.network.drive(target), self.network.drive_moves(target, reach)
        variance = self.state.noise + target.excess
        found = []
        for data in self.data[target.gene]:
            part, members, basis = data.part, data.members, data.part.rows
            precision = 1 / np.r_[variance, np.full(len(part.points) - 2, target.other_variance)]
            rest = data.values - (part.weights @ drive[:, members]).T
            if latent >= 0:
                basis = np.concatenate([part.start[:, None], basis], axis=1)
                precision = np.r_[1 / self.state.noise, precision]
                rest = rest - latents[members, latent, None] * part.fall
            rows = through(basis.T @ part.weights, moves[:, :, members])
            if latent >= 0:
                rows[:, np.searchsorted(reach, latent)] += (basis.T @ part.fall)[:, None]
            turned = np.ascontiguousarray(rows.transpose(2, 1, 0))
            found.append(_Seen(members, turned, rest @ basis, precision, 1 if latent >= 0 else 0))
        return found

    def _move(self, latents: FloatArray, step: FloatArray) -> None:
        """Take everything along to the last step's end, to first order."""
        wiring, network = self.wiring, self.network
        drives = {}
        for gene, target in self.targets.items():
            reach = wiring.reach[gene]
            if wiring.place[gene] < 0:
                moves = network.drive_moves(target, reach)
                drives[gene] = network.drive(target) + np.einsum("urn,nr->un", moves, step[:, reach]), moves
            for seen in self.seen[gene]:
                seen.rest[...] -= (seen.rows.transpose(0, 2, 1) @ step[seen.members][:, reach, None])[..., 0]
        self.courses[wiring.levels] = latents[:, : len(wiring.levels)].T[:, None]
        self.moves = dict(network.moves)
        for gene, moves in network.moves.items():
            self.courses[gene] += np.einsum("urn,nr->un", moves, step[:, wiring.reach[gene]])
        for gene, (drive, moves) in drives.items():
            self._follow(gene, drive, moves)
        moving = np.concatenate([wiring.levels, np.array(sorted(self.moves), dtype=np.int64)])
        self.slopes = dict(zip(moving.tolist(), phi_slope(self.courses[moving]), strict=True))

    def _follow(self, gene: int, drive: FloatArray, moves: FloatArray) -> None:
        """The course of a dynamic gene that regulates nothing: its drive's, from the start that fits its own data."""
        rate, grid = self.rates[gene], self.block.grid
        weights, fall = drive_weights(rate, grid, np.arange(len(grid))), np.exp(-rate * grid)
        course, moved = weights @ drive, through(weights, moves)
        for data in self.data[gene]:
            part, chosen = data.part, data.members
            norm = part.fall / (part.fall @ part.fall)
            back = norm @ part.weights
            start = data.values @ norm - back @ drive[:, chosen]
            self.courses[gene][:, chosen] = course[:, chosen] + fall[:, None] * start
            moved[:, :, chosen] -= fall[:, None, None] * through(back[None], moves[:, :, chosen])
        if moves.shape[1]:
            self.moves[gene] = moved

    def without(self, target: int) -> FloatArray | None:
        """(N, nz) move of the latents when the rows of a target are taken out; None where it moves none."""
        reach, found = self.wiring.reach.get(target, ()), np.zeros(self.spread.shape[:2])
        if not len(reach) or not self.seen[target]:
            return None
        for seen in self.seen[target]:
            by_rows, shared = self._cavity(target, seen)
            gap = np.diag(1 / seen.precision) - shared
            found[seen.members] = -(np.linalg.solve(gap, seen.rest[..., None])[:, None, :, 0] @ by_rows)[:, 0]
        return found

    def moved(self, step: FloatArray | None, genes: IntArray, features: bool) -> FloatArray:
        """(N, U, C) change of courses, or of their φ, with a step (N, nz) of the latents; None is no step."""
        _, points, n = self.courses.shape
        found = np.zeros((len(genes), points, n))
        for place, gene in enumerate(genes.tolist()):
            latent = self.wiring.place[gene]
            if step is None or not (gene in self.moves or latent >= 0):
                continue
            if gene in self.moves:
                found[place] = np.einsum("urn,nr->un", self.moves[gene], step[:, self.wiring.reach[gene]])
            else:
                found[place] = step[:, latent]
            if features:
                found[place] *= self.slopes[gene]
        return np.ascontiguousarray(found.transpose(2, 1, 0))

    def drive_uncertainty(self, target: int) -> tuple[float, int]:
        """Sum over trajectories of the drive row's variance by uncertain latents, and their number."""
        total, count = 0.0, 0
        for seen in self.seen[target] if len(self.wiring.reach.get(target, ())) else ():
            _, shared = self._cavity(target, seen)
            row = shared[:, seen.drive]
            grown = np.linalg.solve(np.diag(1 / seen.precision) - shared, row[..., None])[..., 0]
            total += float((row[:, seen.drive] + (row * grown).sum(axis=1)).sum())
            count += len(row)
        return total, count

    def _cavity(self, target: int, seen: _Seen) -> tuple[FloatArray, FloatArray]:
        """Return J V (N, k, nz) and J V J' (N, k, k)."""
        reach = self.wiring.reach[target]
        by_rows = seen.rows.transpose(0, 2, 1) @ self.spread[seen.at(reach)]
        return by_rows, by_rows[:, :, reach] @ seen.rows


class Smoothing:
    """Courses smoothed in a network, and how they would be without one target's data.

    It is the :class:`dash_hpc.evidence.state.Smoothed` of the rounds after the first.
    """

    def __init__(self, posteriors: Sequence[Posterior]) -> None:
        self.posteriors = tuple(posteriors)
        self.courses: tuple[FloatArray, ...] = tuple(
            np.ascontiguousarray(posterior.courses.transpose(2, 1, 0)) for posterior in posteriors
        )

    def shift(self, target: int, genes: IntArray) -> tuple[FloatArray, ...] | None:
        """Per block: (N, U, C) change of φ of the genes when the data of the target are left out; None = none."""
        return self._moved(target, genes, features=True)

    def cavity(self, target: int, genes: IntArray) -> tuple[FloatArray, ...]:
        """Per block: (N, U, C) courses of the genes as they are without the data of the target."""
        here = [courses[:, :, genes] for courses in self.courses]
        moved = self._moved(target, genes, features=False)
        return tuple(here if moved is None else (a + b for a, b in zip(here, moved, strict=True)))

    def drive_uncertainty(self, target: int) -> float | None:
        """Mean variance of the target's drive row due to uncertain courses, which its own data do not narrow."""
        found = [posterior.drive_uncertainty(target) for posterior in self.posteriors]
        count = sum(number for _, number in found)
        return sum(total for total, _ in found) / count if count else 0.0

    def _moved(self, target: int, genes: IntArray, features: bool) -> tuple[FloatArray, ...] | None:
        steps = [posterior.without(target) for posterior in self.posteriors]
        if all(step is None for step in steps):
            return None
        pairs = zip(self.posteriors, steps, strict=True)
        return tuple(posterior.moved(step, genes, features) for posterior, step in pairs)


def smooth(
    blocks: Sequence[Block],
    parts: Mapping[int, Sequence[Part]],
    state: State,
    rates: FloatArray,
    courses: Sequence[FloatArray],
    *,
    anchored: bool = True,
) -> Smoothing:
    """Smooth all courses in the network as it stands.

    Parameters
    ----------
    blocks : sequence of Block
    parts : dict of int to tuple of Part
        Rows of each target of the state, at its rate.
    state : State
        Members, coefficients, variances and excess variances of the targets.
    rates : (G,) float64
        Per unit of the blocks' time; those of constant genes are not read.
    courses : sequence of (N, U, G) float64
        Per block; where the search starts from, and the courses of genes without rows.
    anchored : bool, default True
        Whether levels are held to their own measurements (:func:`dash_hpc.evidence.anchor.unbent`).

    Notes
    -----
    At most 3 Gauss-Newton steps, fewer where none moves a latent by 0.001. Genes that regulate nothing follow their
    drive from the start that fits their own data.
    """
    targets = {gene for gene in state.targets if parts.get(gene)}
    wiring = Wiring.of(state, targets)
    population = Population.of_blocks(blocks, state, wiring, courses)
    posteriors = [
        Posterior(number, block, parts, state, wiring, rates, course, population)
        for number, (block, course) in enumerate(zip(blocks, courses, strict=True))
    ]
    if anchored:
        _anchor(posteriors, state.noise)
    return Smoothing(posteriors)


def _anchor(posteriors: Sequence[Posterior], noise: float) -> None:
    """Take the bend out of the levels; all blocks tell it together."""
    ends = np.cumsum([len(posterior.block.trajectories) for posterior in posteriors])[:-1]
    for latent, gene in enumerate(posteriors[0].wiring.levels.tolist()):
        values = [posterior.block.values[:, :, gene] for posterior in posteriors]
        seen = [~np.isnan(value) for value in values]
        count = np.concatenate([found.sum(axis=1) for found in seen])
        total = np.concatenate(
            [np.where(found, value, 0.0).sum(axis=1) for found, value in zip(seen, values, strict=True)]
        )
        level = np.concatenate([posterior.courses[gene, 0] for posterior in posteriors])
        variance = np.concatenate([posterior.spread[:, latent, latent] for posterior in posteriors])
        bend = unbent(level, variance, total / np.maximum(count, 1), count / noise)
        for posterior, own in zip(posteriors, np.split(bend, ends), strict=True):
            posterior.courses[gene] += own
            posterior.slopes[gene] = phi_slope(posterior.courses[gene])
