"""Which genes are looked at as regulators of a target: all, or where there are many, those that could be some."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dash_hpc.evidence.blocks import Block
from dash_hpc.evidence.columns import Features
from dash_hpc.evidence.rows import Part, drive_weights, row_basis
from dash_hpc.evidence.state import Candidates, FloatArray, PriorEdges

__all__ = ["ALL_UNTIL", "candidates_of"]

#: Up to so many genes all of them are looked at.
ALL_UNTIL = 1000
#: The norms of columns are known at rates that are so far apart in ln(rate); a target takes those of the nearest.
_RATES_APART = 0.25
#: Genes whose columns are held in memory.
_AT_ONCE = 1000


def candidates_of(
    edges: PriorEdges,
    blocks: Sequence[Block],
    parts: Mapping[int, Sequence[Part]],
    rates: FloatArray,
    courses: Sequence[FloatArray],
    most: int,
) -> Iterator[tuple[int, Candidates]]:
    """Yield each target with its candidates: all other genes, or the listed ones and ``most`` more.

    Those are the ones that each explain, alone, most of the rows' variation. Of equals the first by number is taken.
    """
    if edges.n_genes <= ALL_UNTIL:
        for gene in parts:
            others = np.delete(np.arange(edges.n_genes), gene)
            yield gene, Candidates.unseen(others, *edges.into(gene))
        return
    features = Features.of_courses(courses)
    norms: dict[tuple, FloatArray] = {}
    for gene, own in parts.items():
        listed, signs = edges.into(gene)
        share = _shares(blocks, own, float(rates[gene]), features, norms)
        share[gene] = -np.inf
        share[listed] = np.inf
        best = np.argsort(-share, kind="stable")[: len(listed) + most]
        genes = np.sort(best[share[best] > 0]).astype(np.int64)
        yield gene, Candidates.unseen(genes, listed, signs)


def _shares(
    blocks: Sequence[Block], parts: Sequence[Part], rate: float, features: Features, norms: dict[tuple, FloatArray]
) -> FloatArray:
    """(G,) variation of a target's rows that each gene's column explains, by the norms of the nearest known rate."""
    nearest = float(np.exp(np.round(np.log(max(rate, 1e-12)) / _RATES_APART) * _RATES_APART))
    genes = len(features.centre)
    product, norm = np.zeros(genes), np.zeros(genes)
    for part in parts:
        weights = part.rows.T @ part.weights
        data = _centred(part, part.z.T)
        block = features.blocks[part.block]
        back = np.zeros(block.shape[:2])
        back[:, part.members] = weights.T @ data
        product += back.ravel() @ block.reshape(-1, genes)
        # the norms change little with the rate and are most of the work
        key = (part.block, part.points.tobytes(), part.members.tobytes(), nearest)
        if key not in norms:
            there, places = blocks[part.block], blocks[part.block].at[part.points]
            _, basis = row_basis(nearest, there.times[part.points])
            across = basis.T @ drive_weights(nearest, there.grid, places)
            norms[key] = np.concatenate(
                [_norms(part, across, block[:, part.members, k : k + _AT_ONCE]) for k in range(0, genes, _AT_ONCE)]
            )
        norm += norms[key]
    return np.asarray(product**2 / np.maximum(norm, 1e-300))


def _norms(part: Part, across: FloatArray, block: FloatArray) -> FloatArray:
    """(C,) squared norms of the columns of features (U, N, C)."""
    rows = (across @ block.reshape(len(block), -1)).reshape(len(across), *block.shape[1:])
    return np.asarray((_centred(part, rows) ** 2).sum(axis=(0, 1)))


def _centred(part: Part, rows: FloatArray) -> FloatArray:
    """Rows (K − 1, N, ...) about their means: the drive's always, others where the part says so."""
    means = rows.mean(axis=1, keepdims=True)
    if not part.centred:
        means[1:] = 0
    return rows - means
