"""Courses of the dynamic regulators in a network as it stands, and their derivatives in the latents.

Arrays are laid out (U, r, N): grid, latents, trajectories of one block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dash_hpc.evidence.blocks import Block
from dash_hpc.evidence.rows import drive_weights
from dash_hpc.evidence.state import Bools, FloatArray, IntArray, State, Target, phi, phi_slope
from dash_hpc.evidence.wiring import Wiring

__all__ = ["Network"]

#: Courses and derivatives of a group that feeds itself are iterated until they move by less, at most so often.
_STILL, _MOST_SWEEPS = 1e-9, 60


@dataclass(frozen=True, eq=False)
class _Kernel:
    """How a gene's course on a grid follows from its drive (``weights``, (U, U)) and its start (``fall``, (U,))."""

    weights: FloatArray
    fall: FloatArray


class Network:
    """The members' network on the trajectories of one block.

    Parameters
    ----------
    block : Block
    state : State
    wiring : Wiring
    rates : (G,) float64
        Of the dynamic genes.
    courses : (G, U, N) float64
        Changed in place: those of genes of ``wiring.starts`` follow from the latents, levels too.
    """

    def __init__(self, block: Block, state: State, wiring: Wiring, rates: FloatArray, courses: FloatArray) -> None:
        self.block, self.state, self.wiring, self.rates, self.courses = block, state, wiring, rates, courses
        members = [target.members for target in state.targets.values()]
        self._sources = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *members]))
        #: Of each gene that regulates something: (U, N) its centred φ, and of those with latents the slope of it.
        self.features: dict[int, FloatArray] = {}
        self.slopes: dict[int, FloatArray] = {}
        #: Of each gene of ``wiring.starts``: (U, r, N) derivative of its course in the latents of its reach.
        self.moves: dict[int, FloatArray] = {}
        self._ways: dict[int, list[tuple[int, int, IntArray | int, Bools | None]]] = {}
        every = np.arange(len(block.grid))
        self._kernels = {
            gene: _Kernel(drive_weights(rates[gene], block.grid, every), np.exp(-rates[gene] * block.grid))
            for gene in wiring.starts.tolist()
        }

    def solve(self, latents: FloatArray) -> None:
        """Take over latents (N, nz): the courses that follow from them, features and derivatives."""
        wiring, centre = self.wiring, self.state.centre
        self.courses[wiring.levels] = latents[:, : len(wiring.levels)].T[:, None]
        features = phi(self.courses[self._sources]) - centre[self._sources, None, None]
        self.features = dict(zip(self._sources.tolist(), features, strict=True))
        for group, loops in wiring.order:
            self._solve_group(group, loops, latents)
        used = np.concatenate([wiring.levels, wiring.starts])
        slopes = phi_slope(self.courses[used])
        self.slopes = {int(gene): slope for gene, slope in zip(used, slopes, strict=True)}
        for group, loops in wiring.order:  # loops go on from the derivatives at the latents before
            self._move_group(group, loops)

    def drive(self, target: Target) -> FloatArray:
        """(U, N) drive of a target."""
        found = np.full(self.courses.shape[1:], target.offset)
        for member, coefficient in zip(target.members.tolist(), target.coefficients, strict=True):
            found += coefficient * self.features[member]
        for (a, c), coefficient in zip(target.pairs.tolist(), target.pair_coefficients, strict=True):
            found += coefficient * self.features[a] * self.features[c]
        return found

    def drive_moves(self, target: Target, reach: IntArray) -> FloatArray:
        """(U, r, N) derivative of a target's drive in the latents ``reach``."""
        points, n = len(self.block.grid), len(self.block.trajectories)
        found = np.zeros((points, len(reach), n))
        slopes = self._drive_slopes(target)
        for k, member, at, shared in self._ways_of(target, reach):
            by_level = slopes[k] * self.slopes[member]
            if self.state.constant[member]:
                found[:, at] += by_level
            elif member in self.moves:  # a group that feeds itself gets there by and by
                moves = self.moves[member]
                found[:, at] += by_level[:, None] * (moves if shared is None else moves[:, shared])
        return found

    def _ways_of(self, target: Target, reach: IntArray) -> list[tuple[int, int, IntArray | int, Bools | None]]:
        """Members of a target that have latents: place among its members, gene, where the latents of its course stand
        in ``reach``, and which of them do; None: all."""
        found = self._ways.get(target.gene)
        if found is None:
            found = []
            for k, member in enumerate(target.members.tolist()):
                if self.wiring.place[member] < 0:
                    continue
                theirs = self.wiring.place[member : member + 1]
                if not self.state.constant[member]:
                    theirs = self.wiring.reach[member]
                at = np.minimum(np.searchsorted(reach, theirs), len(reach) - 1)
                shared = reach[at] == theirs
                if self.state.constant[member]:
                    found.append((k, member, int(at[0]), None))
                else:
                    found.append((k, member, at[shared], None if shared.all() else shared))
            self._ways[target.gene] = found  # whole: other threads may ask meanwhile
        return found

    def _drive_slopes(self, target: Target) -> list[FloatArray]:
        """Derivative of the drive in the feature of each member, (U, N) or a number."""
        found: list[FloatArray] = list(target.coefficients)
        if not len(target.pairs):
            return found
        at = {int(member): k for k, member in enumerate(target.members)}
        for (a, c), coefficient in zip(target.pairs.tolist(), target.pair_coefficients, strict=True):
            found[at[a]] = found[at[a]] + coefficient * self.features[c]
            found[at[c]] = found[at[c]] + coefficient * self.features[a]
        return found

    def _solve_group(self, group: tuple[int, ...], loops: bool, latents: FloatArray) -> None:
        for _ in range(_MOST_SWEEPS if loops else 1):
            moved = 0.0
            for gene in group:
                kernel = self._kernels[gene]
                start = latents[:, self.wiring.place[gene]]
                course = kernel.weights @ self.drive(self.state.targets[gene]) + kernel.fall[:, None] * start
                moved = max(moved, float(np.abs(course - self.courses[gene]).max(initial=0.0)))
                self.courses[gene] = course
                self.features[gene] = phi(course) - self.state.centre[gene]
            if moved < _STILL:
                break

    def _move_group(self, group: tuple[int, ...], loops: bool) -> None:
        for _ in range(_MOST_SWEEPS if loops else 1):
            moved = 0.0
            for gene in group:
                kernel, reach = self._kernels[gene], self.wiring.reach[gene]
                moves = through(kernel.weights, self.drive_moves(self.state.targets[gene], reach))
                moves[:, np.searchsorted(reach, self.wiring.place[gene])] += kernel.fall[:, None]
                before = self.moves.get(gene)
                moved = max(moved, float(np.abs(moves if before is None else moves - before).max(initial=0.0)))
                self.moves[gene] = moves
            if moved < _STILL:
                break


def through(weights: FloatArray, grid: FloatArray) -> FloatArray:
    """Apply weights (k, U) to the first axis of (U, r, N)."""
    found: FloatArray = np.reshape(weights @ grid.reshape(len(grid), grid[0].size), (len(weights), *grid.shape[1:]))
    return found
