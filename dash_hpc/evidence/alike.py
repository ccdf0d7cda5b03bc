"""Regulators that the data cannot tell apart: what they do to a target is nearly the same in all of its rows."""

from __future__ import annotations

import numpy as np

from dash_hpc.evidence.columns import Features
from dash_hpc.evidence.decide import Ledger
from dash_hpc.evidence.rounds import Reading
from dash_hpc.evidence.state import Bools, FloatArray, IntArray

__all__ = ["ALIKE", "most_alike"]

#: Correlation of columns, in size, from which on two regulators count as alike, and of courses, from which on columns
#: are compared.
ALIKE, _NEAR = 0.9, 0.8


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
    features = Features.of_courses(reading.smoothed.courses)
    norms = sum(np.einsum("ung,ung->g", block, block) for block in features.blocks)
    near = {gene: _near(features, norms, gene) for gene in np.unique(ledger.regulator[asked]).tolist()}
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


def _near(features: Features, norms: FloatArray, gene: int) -> IntArray:
    """Genes whose courses correlate with that of one, in all trajectories together; ``norms`` (G,) are of all genes."""
    flat = [block.reshape(-1, len(norms)) for block in features.blocks]
    product = np.abs(sum(block[:, gene] @ block for block in flat))
    there = (product > _NEAR * np.sqrt(norms * norms[gene])) & (norms > 0)
    there[gene] = False
    return np.flatnonzero(there)


def _columns(reading: Reading, features: Features, target: int, genes: IntArray) -> FloatArray:
    """(rows, C) columns of length 1 about their means, each kind of rows in its standard deviations."""
    own = reading.state.targets[target]
    pieces = []
    for part in reading.parts[target]:
        values = features.blocks[part.block][:, part.members][:, :, genes]
        rows = np.tensordot(part.across, values, 1)
        scale = np.r_[own.drive_variance, np.full(len(rows) - 1, own.other_variance)] ** -0.5
        mean = rows.mean(axis=1, keepdims=True)
        if not part.centred:
            mean[1:] = 0.0
        pieces.append(((rows - mean) * scale[:, None, None]).reshape(-1, len(genes)))
    columns = np.concatenate(pieces)
    size = np.linalg.norm(columns, axis=0)
    return np.asarray(columns / np.where(size > 0, size, 1.0))
