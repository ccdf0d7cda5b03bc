"""The latents of some trajectories of a block, given all that was measured in them, and what follows from them.

All steps of all targets would not fit in memory where there are thousands of genes: what is kept grows with regulators
and the latents of their reaches, and what grows with genes is thrown away as soon as it is summed up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

from dash_hpc.evidence.blocks import Block
from dash_hpc.evidence.population import Population
from dash_hpc.evidence.rows import Part, drive_weights
from dash_hpc.evidence.state import FloatArray, IntArray, State, Target
from dash_hpc.evidence.tangent import Network, through
from dash_hpc.evidence.wiring import Wiring
from dash_hpc.ops.course_moves import course_moves

__all__ = ["Posterior", "bytes_of_one"]

_MOST_STEPS, _STILL = 3, 1e-3
#: Numbers of the matrices, from drives to courses, that are made together.
_KERNELS = 2**17


@dataclass(frozen=True, eq=False)
class _Said:
    """What the rows of a target say of the latents of its reach, at the latents as they are.

    Attributes
    ----------
    information : (N, r, r) float64
    gradient : (N, r) float64
        Of the log likelihood.
    drive : (N, r) float64
        Derivative of the drive's row; 0 in trajectories without rows.
    count : int
        Trajectories with rows.
    """

    information: FloatArray
    gradient: FloatArray
    drive: FloatArray
    count: int


@dataclass(frozen=True, eq=False)
class _Out:
    """Taking the rows of a target out again.

    Attributes
    ----------
    pull : (N, r) float64
        The latents move by the covariances with its reach, times this.
    uncertainty : float
        Sum over trajectories of the drive row's variance by latents that its rows do not narrow.
    count : int
        Trajectories with rows.
    """

    pull: FloatArray
    uncertainty: float
    count: int


class Posterior:
    """The latents of some trajectories of one block, given all data, and what follows from them.

    Parameters
    ----------
    number, block
        The block, and its number.
    chosen : slice
        Which of its trajectories.
    parts : by gene, the rows of each target
    state, wiring, rates, population
        As :func:`dash_hpc.evidence.smooth.smooth` has them.
    courses : (N, U, G) float64
        Of the trajectories chosen; smoothed in place.
    asked : mapping of int to (C,) int64, optional
        Genes of whose courses :meth:`moved` will be asked without each target. Left out, those of all targets: then the
        covariances are kept.
    room : int
        Bytes for derivatives of genes that regulate nothing; those that find no room are made whenever they are asked
        for.

    Attributes
    ----------
    variance : (N, nz) float64
        Of the latents.
    """

    def __init__(
        self,
        number: int,
        block: Block,
        chosen: slice,
        parts: Mapping[int, Sequence[Part]],
        state: State,
        wiring: Wiring,
        rates: FloatArray,
        courses: FloatArray,
        population: Population,
        asked: Mapping[int, IntArray] | None,
        room: int,
    ) -> None:
        self.number, self.chosen = number, chosen
        self.block = replace(block, trajectories=block.trajectories[chosen], values=block.values[chosen])
        self.whole = len(self.block.trajectories) == len(block.trajectories)
        self.state, self.wiring, self.rates, self.room = state, wiring, rates, room
        #: As they stand: the next pass changes those of the state one by one, and may ask for courses on the way.
        self.targets = {gene: replace(target) for gene, target in state.targets.items() if gene in wiring.reach}
        #: Of genes that regulate nothing: trajectories, and how much of their drives the start that fits takes back.
        self.backs: dict[int, list[tuple[IntArray | slice, FloatArray]]] = {}
        self.network = Network(self.block, state, wiring, rates, np.ascontiguousarray(courses.transpose(2, 1, 0)))
        self.moves = self.network.moves
        #: Of genes that regulate nothing: drives and their derivatives at the latents as they are, while there is room.
        self._held: dict[int, tuple[FloatArray, FloatArray]] = {}
        values = np.ascontiguousarray(self.block.values.transpose(2, 0, 1))
        spread, said = self._settle(parts, values, population)
        courses[...] = self.network.courses.transpose(2, 1, 0)
        self.network.courses = courses[:0]
        self.variance: FloatArray = np.ascontiguousarray(np.einsum("nzz->nz", spread))
        self.out: dict[int, _Out] = {}
        self.steps: dict[int, tuple[IntArray, FloatArray]] = {}
        self.spread: FloatArray | None = spread if asked is None else None
        while said:
            gene, found = said.popitem()
            reach = wiring.reach[gene]
            out = self.out[gene] = _out(found, spread[:, reach[:, None], reach])
            if asked is not None:
                latents = self._latents(asked.get(gene, ()))
                step = (spread[:, latents[:, None], reach] @ out.pull[..., None])[..., 0]
                self.steps[gene] = latents, step
                self.out[gene] = replace(out, pull=out.pull[:0])

    def _settle(
        self, parts: Mapping[int, Sequence[Part]], values: FloatArray, population: Population
    ) -> tuple[FloatArray, dict[int, _Said]]:
        """Find the latents; return their covariances (N, nz, nz) and what each target says of them."""
        wiring, courses = self.wiring, self.network.courses
        latents = np.concatenate([courses[wiring.levels, 0], courses[wiring.starts, 0]]).T
        step: FloatArray = np.zeros_like(latents)
        precision, said = np.empty((*latents.shape, latents.shape[1])), dict[int, _Said]()
        for _ in range(_MOST_STEPS):
            self.network.solve(latents)
            gradient = population.of(self.block, latents, precision)
            said, self._held, room = {}, {}, self.room
            for gene, target in self.targets.items():
                reach = wiring.reach[gene]
                if len(reach) and (own := self._own(parts[gene])):
                    drive, moves = self.network.drive(target), self.network.drive_moves(target, reach)
                    if wiring.place[gene] < 0 and (room := room - moves.nbytes - drive.nbytes) >= 0:
                        self._held[gene] = drive, moves
                    found = said[gene] = self._observe(target, own, values[gene], latents, drive, moves)
                    precision[:, reach[:, None], reach] += found.information
                    gradient[:, reach] += found.gradient
            step = _solved(precision, gradient)
            latents = latents + step
            if np.abs(step).max(initial=0.0) < _STILL:
                break
        for gene, found in said.items():
            found.gradient[...] -= (found.information @ step[:, wiring.reach[gene], None])[..., 0]
        self._move(parts, values, latents, step)
        _inverted(precision)
        return precision, said

    def _own(self, parts: Sequence[Part]) -> list[tuple[Part, IntArray | slice]]:
        """The parts of a target in these trajectories, with their places among them."""
        found: list[tuple[Part, IntArray | slice]] = []
        for part in parts:
            if part.block != self.number:
                continue
            first, last = self.chosen.start, self.chosen.stop
            members = part.members[(part.members >= first) & (part.members < last)] - first
            if len(members) == len(self.block.trajectories):
                found.append((part, slice(None)))
            elif len(members):
                found.append((part, members))
        return found

    def _observe(
        self,
        target: Target,
        own: Sequence[tuple[Part, IntArray | slice]],
        values: FloatArray,
        latents: FloatArray,
        drive: FloatArray,
        moves: FloatArray,
    ) -> _Said:
        """Rows of a target: with the start's row where its start is a latent, and without it else."""
        latent, reach = self.wiring.place[target.gene], self.wiring.reach[target.gene]
        variance = self.state.noise + target.excess
        n, r = len(latents), len(reach)
        said = _Said(np.zeros((n, r, r)), np.zeros((n, r)), np.zeros((n, r)), _count(own, n))
        for part, members in own:
            basis, variances = part.rows, [variance, *[target.other_variance] * (len(part.points) - 2)]
            if latent >= 0:
                basis, variances = np.concatenate([part.start[:, None], basis], axis=1), [self.state.noise, *variances]
            scale = 1 / np.sqrt(np.array(variances))
            scaled = basis * scale
            across = scaled.T @ part.weights
            rest = values[members][:, part.points] @ scaled - (across @ drive[:, members]).T
            rows = through(across, moves[:, :, members])
            if latent >= 0:
                fall = scaled.T @ part.fall
                rest -= latents[members, latent, None] * fall
                rows[:, np.searchsorted(reach, latent)] += fall[:, None]
            by_latent = np.ascontiguousarray(rows.transpose(2, 1, 0))
            said.information[members] = by_latent @ by_latent.transpose(0, 2, 1)
            said.gradient[members] = (by_latent @ rest[..., None])[..., 0]
            at = 1 if latent >= 0 else 0
            said.drive[members] = by_latent[:, :, at] / scale[at]
        return said

    def _move(
        self, parts: Mapping[int, Sequence[Part]], values: FloatArray, latents: FloatArray, step: FloatArray
    ) -> None:
        """Take everything along to the last step's end, to first order."""
        wiring, network = self.wiring, self.network
        courses = network.courses
        ends = {}
        for gene, kernel in self._kernels([gene for gene in self.targets if wiring.place[gene] < 0]):
            target, reach = self.targets[gene], wiring.reach[gene]
            if gene in self._held:
                drive, moves = self._held.pop(gene)
            else:
                drive, moves = network.drive(target), network.drive_moves(target, reach)
            drive = drive + np.einsum("urn,nr->un", moves, step[:, reach])
            ends[gene] = self._followed(gene, kernel, drive, self._own(parts[gene]), values[gene])
            if len(reach) and moves.nbytes <= self.room:
                self.moves[gene] = self._follower_moves(gene, kernel, moves)
                self.room -= moves.nbytes
        courses[wiring.levels] = latents[:, : len(wiring.levels)].T[:, None]
        for gene in wiring.starts.tolist():
            courses[gene] += np.einsum("urn,nr->un", self.moves[gene], step[:, wiring.reach[gene]])
        for gene, course in ends.items():
            courses[gene] = course

    def _followed(
        self,
        gene: int,
        kernel: tuple[FloatArray, FloatArray],
        drive: FloatArray,
        own: Sequence[tuple[Part, IntArray | slice]],
        values: FloatArray,
    ) -> FloatArray:
        """(U, N) course of a gene that regulates nothing: its drive's, from the start that fits its own data."""
        weights, fall = kernel
        course = weights @ drive
        backs = self.backs[gene] = []
        for part, chosen in own:
            norm = part.fall / (part.fall @ part.fall)
            back = norm @ part.weights
            start = values[chosen][:, part.points] @ norm - back @ drive[:, chosen]
            course[:, chosen] += fall[:, None] * start
            backs.append((chosen, back))
        return course

    def _follower_moves(self, gene: int, kernel: tuple[FloatArray, FloatArray], moves: FloatArray) -> FloatArray:
        """(U, r, N) derivatives of its course, from those of its drive."""
        weights, fall = kernel
        moved = through(weights, moves)
        for chosen, back in self.backs[gene]:
            moved[:, :, chosen] -= fall[:, None, None] * through(back[None], moves[:, :, chosen])
        return moved

    def _kernels(self, genes: Sequence[int]) -> Iterator[tuple[int, tuple[FloatArray, FloatArray]]]:
        """How the course of each gene on the grid follows from its drive (U, U) and its start (U,)."""
        grid = self.block.grid
        every, some = np.arange(len(grid)), max(1, _KERNELS // len(grid) ** 2)
        for first in range(0, len(genes), some):
            rates = self.rates[list(genes[first : first + some])]
            weights, fall = drive_weights(rates, grid, every), np.exp(-rates[:, None] * grid)
            yield from zip(genes[first : first + some], zip(weights, fall, strict=True), strict=True)

    def _latents(self, genes: Sequence[int] | IntArray) -> IntArray:
        """All latents that the courses of genes depend on."""
        wiring = self.wiring
        own = [wiring.reach[gene] for gene in map(int, genes) if gene in wiring.reach]
        places = wiring.place[np.asarray(genes, dtype=np.int64)]
        return np.unique(np.concatenate([places[places >= 0], *own]))

    def without(self, target: int) -> FloatArray | None:
        """(N, nz) move of the latents when the rows of a target are taken out; None where it moves none."""
        if target not in self.out:
            return None
        if self.spread is not None:
            moved = np.zeros(self.variance.shape)
            for k, latent in enumerate(self.wiring.reach[target].tolist()):
                moved += self.out[target].pull[:, k, None] * self.spread[:, latent]
            return moved
        found = np.zeros(self.variance.shape)
        latents, step = self.steps[target]
        found[:, latents] = step
        return found

    def moved(self, step: FloatArray | None, genes: IntArray, courses: FloatArray | None = None) -> FloatArray:
        """(N, U, C) change of courses with a step (N, nz) of the latents; None is no step.

        ``courses`` : (N, U, G), optional; given, the change of φ at them.
        """
        points = len(self.block.grid)
        if step is None:
            return np.zeros((len(self.block.trajectories), points, len(genes)))
        return course_moves(step, points, [self._moves_of(gene) for gene in genes.tolist()], courses, genes)

    def _moves_of(self, gene: int) -> tuple[IntArray, FloatArray | None] | None:
        """Latents of a gene's course with its derivatives; without any where it is its latent; None where it stays."""
        latent, reach = self.wiring.place[gene], self.wiring.reach.get(gene)
        if reach is None or not len(reach):
            return (self.wiring.place[gene : gene + 1], None) if latent >= 0 else None
        moves = self.moves.get(gene)
        if moves is None:
            ((_, kernel),) = self._kernels([gene])
            moves = self._follower_moves(gene, kernel, self.network.drive_moves(self.targets[gene], reach))
        return reach, moves

    def drive_uncertainty(self, target: int) -> tuple[float, int]:
        """Sum over trajectories of the drive row's variance by uncertain latents, and their number."""
        out = self.out.get(target)
        return (out.uncertainty, out.count) if out else (0.0, 0)


def bytes_of_one(block: Block, wiring: Wiring) -> int:
    """About what one trajectory of a block takes while it is smoothed."""
    genes, grid = block.values.shape[2], len(block.grid)
    reach = np.array([len(found) for found in wiring.reach.values()], dtype=np.int64)
    regulators = sum(len(wiring.reach[gene]) for gene in wiring.starts.tolist())
    numbers = 2 * len(wiring) ** 2 + 2 * genes * (grid + len(block.times)) + grid * regulators
    return 8 * int(numbers + (reach * (reach + 3)).sum())


def _count(own: Sequence[tuple[Part, IntArray | slice]], n: int) -> int:
    return sum(n if isinstance(members, slice) else len(members) for _, members in own)


def _solved(precision: FloatArray, gradient: FloatArray) -> FloatArray:
    """(N, nz) solutions; the upper triangles of precision (N, nz, nz) become those of Cholesky's factors."""
    found = np.empty_like(gradient)
    for one, right, solution in zip(precision, gradient, found, strict=True) if found.size else ():
        factor, failed = dpotrf(one.T, lower=1, clean=0, overwrite_a=1)
        if failed:
            raise np.linalg.LinAlgError("precision of the latents is not positive definite")
        solution[:] = dpotrs(factor, right, lower=1)[0]
    return found


def _inverted(factors: FloatArray) -> None:
    """Turn Cholesky's factors into the inverses of what they are factors of, in place."""
    for one in factors if factors.size else ():
        dpotri(one.T, lower=1, overwrite_c=1)
        for k in range(len(one) - 1):  # a whole triangle aside would be another matrix of thousands squared
            one[k + 1 :, k] = one[k, k + 1 :]


def _out(said: _Said, spread: FloatArray) -> _Out:
    """Take what a target says out of covariances (N, r, r) that it is in: V J'(1/Ω − J V J')⁻¹ = V (1 − A V)⁻¹ J'Ω."""
    both = np.stack([said.gradient, said.drive], axis=2)
    found = np.linalg.solve(np.eye(spread.shape[1]) - said.information @ spread, both)
    variance = ((said.drive[:, None] @ spread)[:, 0] * found[..., 1]).sum()
    return _Out(np.asarray(-found[..., 0], dtype=np.float64), float(variance), said.count)
