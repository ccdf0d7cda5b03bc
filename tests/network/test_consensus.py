"""What runs agree on: by hand on small networks, and against matrices spread out."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.errors import UsageError
from dash_hpc.network import EdgeTable, consensus, likeness

GENES = ("a", "b", "c")


def table(matrix, genes=GENES):
    """Edges of a target × regulator matrix of effects; 1e-300 stands for an edge of effect 0."""
    matrix = np.asarray(matrix, dtype=float)
    target, regulator = np.nonzero(matrix)
    effect = matrix[target, regulator]
    effect = np.where(np.abs(effect) < 1e-200, 0.0, effect)
    return EdgeTable(genes, regulator.astype(np.int32), target.astype(np.int32), effect, effect)


def test_counts_signs_and_spreads_by_hand():
    runs = [
        table([[0, 1.0, 0], [0, 0, -2.0], [0, 0, 0]]),
        table([[0, 3.0, 0], [0, 0, 4.0], [0, 0, 0]]),
        table([[0, 2.0, 5.0], [1e-300, 0, 4.0], [0, 0, 0]]),
    ]
    found = consensus(runs, prior=np.array([[0, 0, 0], [1.0, 0, 0], [0, 0, 0]]))
    assert list(zip(found.target.tolist(), found.regulator.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 0), (1, 2)]
    np.testing.assert_allclose(found.frequency, [1, 1 / 3, 1 / 3, 1])
    np.testing.assert_allclose(found.effect, [2, 5, 0, 2])
    np.testing.assert_allclose(found.spread, [1, np.nan, np.nan, np.sqrt(12)])
    np.testing.assert_allclose(found.sign_agreement, [1, 1, np.nan, 2 / 3])
    assert found.in_prior.tolist() == [True, False, False, False]
    assert found.in_truth is None
    frame = found.frame()
    assert frame[["regulator", "target"]].to_numpy().tolist()[:2] == [["b", "a"], ["c", "b"]]  # steadier first


def test_likeness_is_that_of_the_matrices_spread_out():
    rng = np.random.default_rng(6)
    matrices = [np.where(rng.random((9, 9)) < 0.3, rng.normal(size=(9, 9)), 0.0) for _ in range(4)]
    genes = tuple(f"g{k}" for k in range(9))
    correlations, shares = [], []
    for a in range(4):
        for b in range(a + 1, 4):
            union = (matrices[a] != 0) | (matrices[b] != 0)
            both = (matrices[a] != 0) & (matrices[b] != 0)
            correlations.append(np.corrcoef(matrices[a][union], matrices[b][union])[0, 1])
            shares.append(both.sum() / union.sum())
    found = likeness([table(m, genes) for m in matrices])
    assert found.pairs == 6
    assert found.correlation == pytest.approx(np.mean(correlations))
    assert found.jaccard == pytest.approx(np.mean(shares))
    same = likeness([table(matrices[0], genes)] * 2)
    assert (same.correlation, same.jaccard) == (pytest.approx(1), 1)
    alone = consensus([table(matrices[0], genes)])
    assert alone.likeness.pairs == 0
    assert np.isnan(alone.likeness.correlation)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(UsageError, match="at least one"):
        consensus([])
    with pytest.raises(UsageError, match="same genes"):
        consensus([table(np.eye(3)), table(np.eye(3), ("x", "y", "z"))])
