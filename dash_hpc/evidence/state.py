"""What is known while a network is read out of data: the prior's edges, and of each target regulators and evidence.

A target's drive, the state that its gene relaxes to, is modelled as ``c = offset + Σ b_i f_i + Σ g_ac f_a f_c`` with
``f_i = φ(x_i) − centre_i``: linear in the features of its regulators, with products of the strongest as nuisance terms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, sparray

from dash_hpc.data.checks import FloatArray
from dash_hpc.ops.bayes import Slab, sigmoid

__all__ = [
    "Bools",
    "Candidates",
    "FloatArray",
    "IntArray",
    "Plain",
    "PriorEdges",
    "Slab",
    "Smoothed",
    "State",
    "Target",
    "phi",
    "phi_slope",
]

#: A candidate whose log Bayes factor was below this is not looked at again once the courses are smoothed.
_WORTH = -1.0

IntArray = NDArray[np.int64]
Bools = NDArray[np.bool_]


def phi(x: FloatArray) -> FloatArray:
    """Saturating feature of an expression level, u / (1 + |u|) with u = x − ½ (PHOENIX, Genome Biology 2024)."""
    u = x - 0.5
    return np.asarray(u / (1 + np.abs(u)))


def phi_slope(x: FloatArray) -> FloatArray:
    """Derivative of :func:`phi`."""
    root = 1 / (1 + np.abs(x - 0.5))  # a power of -2 takes ten times as long
    return np.asarray(root * root)


@dataclass(frozen=True, eq=False)
class PriorEdges:
    """The listed edges, by target. Edges of a gene onto itself are left out: decay and self-regulation look alike.

    Attributes
    ----------
    n_genes : int
    first : (G + 1,) int64
        The edges into gene j are entries ``first[j]`` to ``first[j + 1]``.
    regulators : (E,) int64
        Ascending within a target.
    signs : (E,) int64
        +1 activation, −1 repression, 0 where the prior's signs mean nothing.
    self_edges : int
        How many edges were left out.
    """

    n_genes: int
    first: IntArray
    regulators: IntArray
    signs: IntArray
    self_edges: int = 0

    @classmethod
    def from_matrix(cls, motif: sparray | NDArray[np.float64], signed: bool) -> PriorEdges:
        """Take the entries other than 0 of a (G, G) matrix, row = regulator, column = target."""
        edges = csc_array(motif).tocoo()
        regulator, target = (index.astype(np.int64) for index in edges.coords)
        sign = np.sign(edges.data).astype(np.int64)
        there = (sign != 0) & (regulator != target)
        self_edges = int(((sign != 0) & (regulator == target)).sum())
        regulator, target, sign = regulator[there], target[there], sign[there]
        order = np.lexsort((regulator, target))
        n_genes = edges.shape[1]
        first = np.searchsorted(target[order], np.arange(n_genes + 1)).astype(np.int64)
        signs = sign[order] if signed else np.zeros(len(order), dtype=np.int64)
        return cls(n_genes, first, regulator[order], signs, self_edges)

    @classmethod
    def none(cls, n_genes: int) -> PriorEdges:
        """No prior at all."""
        empty = np.empty(0, dtype=np.int64)
        return cls(n_genes, np.zeros(n_genes + 1, dtype=np.int64), empty, empty)

    def __len__(self) -> int:
        return len(self.regulators)

    @property
    def targets(self) -> IntArray:
        """(E,) target of each edge."""
        return np.repeat(np.arange(self.n_genes), np.diff(self.first))

    def into(self, target: int) -> tuple[IntArray, IntArray]:
        """Regulators listed for a target, and the signs."""
        edges = slice(int(self.first[target]), int(self.first[target + 1]))
        return self.regulators[edges], self.signs[edges]

    def out_degrees(self) -> IntArray:
        """(G,) number of listed targets of each gene."""
        return np.bincount(self.regulators, minlength=self.n_genes).astype(np.int64)

    def in_degrees(self) -> IntArray:
        """(G,) number of listed regulators of each gene."""
        return np.diff(self.first)


@dataclass(eq=False)
class Candidates:
    """What the data and the prior say of C possible regulators of one target. All arrays are (C,).

    Attributes
    ----------
    genes : int64
        Ascending; the target itself is never one of them.
    listed : bool
    sign : int64
        What the prior says: +1, −1, or 0 where it says nothing.
    prior : float64
        Log-odds of the edge before its own data are seen.
    log_bf : float64
        Log Bayes factor of the edge, given the target's other regulators, in nats.
    score, information : float64
        Gradient and curvature of the log likelihood in the edge's coefficient at 0, the other regulators fitted. The
        estimate is ``score / information``, its standard error ``information ** -0.5``.
    expected : float64
        Expected number of regulators of the target if this is one of them; the width of the slab follows it.
    """

    genes: IntArray
    listed: Bools
    sign: IntArray
    prior: FloatArray
    log_bf: FloatArray
    score: FloatArray
    information: FloatArray
    expected: FloatArray

    @classmethod
    def unseen(cls, genes: IntArray, listed: IntArray, signs: IntArray) -> Candidates:
        """Candidates before any data are seen; ``listed`` (subset of ``genes``) with its ``signs`` is the prior."""
        n = len(genes)
        sign, known = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.bool_)
        place = np.searchsorted(genes, listed)
        sign[place], known[place] = signs, True
        zeros = np.zeros(n)
        return cls(genes, known, sign, zeros, zeros.copy(), zeros.copy(), zeros.copy(), np.ones(n))

    def __len__(self) -> int:
        return len(self.genes)

    @property
    def log_odds(self) -> FloatArray:
        """Log-odds of each edge after the data."""
        return self.prior + self.log_bf

    @property
    def probability(self) -> FloatArray:
        """Probability of each edge after the data."""
        return sigmoid(self.log_odds)


def _no_genes() -> IntArray:
    return np.empty(0, dtype=np.int64)


def _no_values() -> FloatArray:
    return np.empty(0)


def _no_pairs() -> IntArray:
    return np.empty((0, 2), dtype=np.int64)


@dataclass(eq=False)
class Target:
    """One gene whose regulators are sought.

    Attributes
    ----------
    gene : int
    candidates : Candidates
    drive_variance, other_variance : float
        Of its rows: those along a constant drive (a_j), the others (b_j).
    members : (k,) int64
        Its regulators as they stand, in the order they were admitted.
    coefficients : (k,) float64
        Theirs in the drive.
    offset : float
        Of the drive.
    pairs : (q, 2) int64, pair_coefficients : (q,) float64
        Products in the drive, of members, squares too.
    inflation : float
        How much more its rows vary with genes that have no part in them than their variances say, 1 or more.
    excess : float
        δ_j: variance of the drive row that neither noise nor the uncertainty of the regulators' courses explains.
    """

    gene: int
    candidates: Candidates
    drive_variance: float
    other_variance: float
    members: IntArray = field(default_factory=_no_genes)
    coefficients: FloatArray = field(default_factory=_no_values)
    offset: float = 0.0
    pairs: IntArray = field(default_factory=_no_pairs)
    pair_coefficients: FloatArray = field(default_factory=_no_values)
    inflation: float = 1.0
    excess: float = 0.0

    def drive(self, features: FloatArray) -> FloatArray:
        """(N, U) drive for centred features (N, U, G) of all genes."""
        drive = self.offset + features[..., self.members] @ self.coefficients
        if len(self.pairs):
            a, c = self.pairs.T
            drive = drive + (features[..., a] * features[..., c]) @ self.pair_coefficients
        return np.asarray(drive)

    def slopes(self, features: FloatArray) -> FloatArray:
        """(N, U, k) derivative of the drive in the feature of each member."""
        slopes = np.broadcast_to(self.coefficients, (*features.shape[:-1], len(self.members))).copy()
        for (a, c), g in zip(self.pairs, self.pair_coefficients, strict=True):
            slopes[..., self.members == a] += g * features[..., c, None]
            slopes[..., self.members == c] += g * features[..., a, None]
        return slopes


class Smoothed(Protocol):
    """Courses of all genes, and how they would be without the data of one target."""

    @property
    def courses(self) -> tuple[FloatArray, ...]:
        """Per block: (N, U, G) expression on the grid."""

    def shift(self, target: int, genes: IntArray) -> tuple[FloatArray, ...] | None:
        """Per block: (N, U, C) change of φ of the genes when the data of the target are left out; None = none."""

    def drive_uncertainty(self, target: int) -> float | None:
        """Mean variance of the target's drive row due to uncertain courses; None = not known."""


@dataclass(frozen=True, eq=False)
class Plain:
    """Courses that came from each gene's own data: leaving out a target changes no other gene."""

    courses: tuple[FloatArray, ...]

    def shift(self, target: int, genes: IntArray) -> tuple[FloatArray, ...] | None:
        return None

    def drive_uncertainty(self, target: int) -> float | None:
        return None


@dataclass(eq=False)
class State:
    """What is known of the network so far.

    Attributes
    ----------
    edges : PriorEdges
    noise : float
        σ², the variance of one measurement.
    constant : (G,) bool
        Genes that do not change within trajectories. They have no regulators.
    targets : dict of int to Target
        All others, by gene, ascending. One without rows keeps Bayes factors of 1: its prior stays as it is.
    centre : (G,) float64
        Mean of φ of each gene at the last selection; what the coefficients refer to.
    slab : Slab
    corruption : float
        ρ: share of the listed edges that are wrong. 0.1 before the first pass.
    passes : int
        How often evidence was gathered.
    trusted : bool
        Whether the prior sets odds. Where it does not (:mod:`dash_hpc.evidence.trust`) its edges are marked as listed,
        and that is all.
    """

    edges: PriorEdges
    noise: float
    constant: Bools
    targets: dict[int, Target]
    centre: FloatArray
    slab: Slab = field(default_factory=Slab)
    corruption: float = 0.1
    passes: int = 0
    trusted: bool = True

    @property
    def n_genes(self) -> int:
        return len(self.constant)

    @property
    def n_dynamic(self) -> int:
        return int((~self.constant).sum())

    def in_question(self, target: Target) -> IntArray:
        """Places of the candidates of a target that are worth another look.

        Those that are listed, members, not ruled out, or regulators of a new member, which may stand for them.
        """
        edges = target.candidates
        known = np.concatenate([target.members, *self.behind(target).values()])
        worth = (edges.listed & self.trusted) | (edges.log_bf > _WORTH) | np.isin(edges.genes, known)
        return np.flatnonzero(worth)

    def behind(self, target: Target) -> dict[int, IntArray]:
        """Regulators of the members of a target that move and are not listed, by member."""
        edges = target.candidates
        listed = edges.listed[np.searchsorted(edges.genes, target.members)] & self.trusted
        new = (gene for gene in target.members[~listed].tolist() if gene in self.targets)
        return {gene: self.targets[gene].members for gene in new}
