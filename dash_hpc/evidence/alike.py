"""Regulators that the data cannot tell apart: what they do to a target is nearly the same in all of its rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dash_hpc.evidence.decide import Ledger
from dash_hpc.evidence.rounds import Reading
from dash_hpc.evidence.state import Bools, FloatArray, IntArray, phi

__all__ = ["ALIKE", "most_alike"]

#: Correlation of columns, in size, from which on two regulators count as alike, and of courses, from which on columns
#: are compared.
ALIKE, _NEAR = 0.9, 0.8
#: Genes whose courses are compared with all at once.
_AT_ONCE = 256


def most_alike(reading: Reading, ledger: Ledger, asked: Bools) -> tuple[IntArray, FloatArray]:
    """Find the gene that each regulator is taken for most easily.

    Parameters
    ----------
    reading, ledger
        Of the same data.
    asked : (E,) bool
        Edges of the ledger.

    Returns
    -------
    gene : (E,) int64
        Of the candidates for the same target the one whose column correlates most with the regulator's, in size, if
        that is above 0.9; else −1.
    correlation : (E,) float64
        Its correlation; NaN where there is none.
    """
    state = reading.state
    gene, correlation = np.full(len(ledger), -1, dtype=np.int64), np.full(len(ledger), np.nan)
    features = [_features(course, state.centre) for course in reading.smoothed.courses]
    near = _near(features, np.unique(ledger.regulator[asked]))
    first = np.searchsorted(ledger.target, np.arange(state.n_genes + 1))
    for number, target in state.targets.items():
        places = np.arange(first[number], first[number + 1])
        places = places[asked[places]]
        if not len(places) or not reading.parts[number]:
            continue
        regulators = ledger.regulator[places]
        others = np.unique(np.concatenate([near[gene] for gene in regulators.tolist()]))
        possible = np.union1d(np.intersect1d(others, target.candidates.genes), regulators)
        if len(possible) < 2:
            continue
        columns = _columns(reading, features, number, possible)
        own = np.searchsorted(possible, regulators)
        found = columns[:, own].T @ columns
        found[np.arange(len(own)), own] = 0.0
        best = np.abs(found).argmax(axis=1)
        value = found[np.arange(len(own)), best]
        alike = np.abs(value) > ALIKE
        gene[places[alike]], correlation[places[alike]] = possible[best[alike]], value[alike]
    return gene, correlation


def _features(courses: FloatArray, centre: FloatArray) -> FloatArray:
    """(G, U, N) features of all genes on courses (N, U, G): of one gene side by side."""
    found = phi(np.ascontiguousarray(courses.T))
    found -= centre[:, None, None]
    return found


def _near(features: Sequence[FloatArray], asked: IntArray) -> dict[int, IntArray]:
    """Of each gene asked for those whose courses correlate with its own, in all trajectories together."""
    flat = [block.reshape(len(block), -1) for block in features]
    norms = np.asarray(sum(np.einsum("gi,gi->g", block, block) for block in flat))
    found: dict[int, IntArray] = {}
    for first in range(0, len(asked), _AT_ONCE):
        genes = asked[first : first + _AT_ONCE]
        product = np.abs(sum(block[genes] @ block.T for block in flat))
        there = (product > _NEAR * np.sqrt(norms[genes, None] * norms)) & (norms > 0)
        there[np.arange(len(genes)), genes] = False
        found |= {gene: np.flatnonzero(row) for gene, row in zip(genes.tolist(), there, strict=True)}
    return found


def _columns(reading: Reading, features: Sequence[FloatArray], target: int, genes: IntArray) -> FloatArray:
    """(rows, C) columns of length 1 about their means, each kind of rows in its standard deviations."""
    own = reading.state.targets[target]
    pieces = []
    for part in reading.parts[target]:
        values = features[part.block][genes]
        if len(part.members) < values.shape[2]:
            values = values[:, :, part.members]
        rows = part.across @ values
        scale = np.r_[own.drive_variance, np.full(rows.shape[1] - 1, own.other_variance)] ** -0.5
        centred = slice(0, None if part.centred else 1)
        rows[:, centred] -= rows[:, centred].mean(axis=2, keepdims=True)
        pieces.append((rows * scale[:, None]).reshape(len(genes), -1))
    columns = np.concatenate(pieces, axis=1)
    size = np.linalg.norm(columns, axis=1, keepdims=True)
    return np.asarray((columns / np.where(size > 0, size, 1.0)).T)
