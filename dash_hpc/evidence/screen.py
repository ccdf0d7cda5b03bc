"""Which genes are looked at as regulators of a target: all, or where there are many, those that could be some."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dash_hpc.evidence.blocks import Block
from dash_hpc.evidence.columns import Features
from dash_hpc.evidence.rows import Part, drive_weights, row_basis
from dash_hpc.evidence.state import Candidates, FloatArray, IntArray, PriorEdges

__all__ = ["ALL_UNTIL", "candidates_of"]

#: Up to so many genes all of them are looked at.
ALL_UNTIL = 1000
#: The norms of columns are known at rates that are so far apart in ln(rate); a target takes those of the nearest.
_RATES_APART = 0.25
#: Genes whose columns are held in memory.
_AT_ONCE = 1000
#: Targets that are screened at once: their products with all features are one.
_TARGETS = 64


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
    genes = list(parts)
    for first in range(0, len(genes), _TARGETS):
        group = genes[first : first + _TARGETS]
        shares = _shares(blocks, [parts[gene] for gene in group], rates[group], features, norms)
        for gene, share in zip(group, shares, strict=True):
            listed, signs = edges.into(gene)
            share[gene] = 0.0
            share[listed] = 0.0
            yield gene, Candidates.unseen(np.union1d(listed, _best(share, most)), listed, signs)


def _best(share: FloatArray, most: int) -> IntArray:
    """The places of the ``most`` largest, as far as they are above 0; of equals the first."""
    if most >= len(share):
        return np.flatnonzero(share > 0)
    least = np.partition(share, -most)[-most]
    above = np.flatnonzero(share > max(least, 0.0))
    if least <= 0:
        return above
    return np.concatenate([above, np.flatnonzero(share == least)[: most - len(above)]])


def _shares(
    blocks: Sequence[Block],
    parts: Sequence[Sequence[Part]],
    rates: FloatArray,
    features: Features,
    norms: dict[tuple, FloatArray],
) -> FloatArray:
    """(J, G) variation of J targets' rows that each gene's column explains, by the norms of the nearest known rates."""
    genes = len(features.centre)
    nearest = np.exp(np.round(np.log(np.maximum(rates, 1e-12)) / _RATES_APART) * _RATES_APART)
    product, norm = np.zeros((len(parts), genes)), np.zeros((len(parts), genes))
    backs = [np.zeros((len(parts), *block.shape[:2])) for block in features.blocks]
    for place, own in enumerate(parts):
        for part in own:
            weights = part.rows.T @ part.weights
            backs[part.block][place][:, part.members] += weights.T @ _centred(part, part.z.T)
            # the norms change little with the rate and are most of the work
            key = (part.block, part.points.tobytes(), part.members.tobytes(), float(nearest[place]))
            if key not in norms:
                norms[key] = _all_norms(blocks[part.block], part, float(nearest[place]), features.blocks[part.block])
            norm[place] += norms[key]
    for back, block in zip(backs, features.blocks, strict=True):
        product += back.reshape(len(parts), -1) @ block.reshape(-1, genes)
    return np.asarray(product**2 / np.maximum(norm, 1e-300))


def _all_norms(block: Block, part: Part, rate: float, features: FloatArray) -> FloatArray:
    """(G,) squared norms of the columns of all features (U, N, G), in the rows of a part at another rate."""
    _, basis = row_basis(rate, block.times[part.points])
    across = basis.T @ drive_weights(rate, block.grid, block.at[part.points])
    pieces = range(0, features.shape[2], _AT_ONCE)
    return np.concatenate([_norms(part, across, features[:, part.members, k : k + _AT_ONCE]) for k in pieces])


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
