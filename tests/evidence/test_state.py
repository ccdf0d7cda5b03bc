"""The prior's edges by target, and the drive of a target."""

from __future__ import annotations

import numpy as np

from dash_hpc.evidence.state import Candidates, PriorEdges, Slab, Target, phi, phi_slope


def test_prior_edges_by_target() -> None:
    motif = np.zeros((4, 4))
    motif[2, 0], motif[1, 0], motif[3, 1], motif[2, 2] = 1, -2, 0.5, 1
    edges = PriorEdges.from_matrix(motif, signed=True)
    assert len(edges) == 3
    assert edges.self_edges == 1
    assert [list(a) for a in edges.into(0)] == [[1, 2], [-1, 1]]
    assert [list(a) for a in edges.into(1)] == [[3], [1]]
    assert len(edges.into(2)[0]) == 0
    assert list(edges.out_degrees()) == [0, 1, 1, 1]
    assert list(edges.in_degrees()) == [2, 1, 0, 0]
    assert list(edges.targets) == [0, 0, 1]
    assert not PriorEdges.from_matrix(motif, signed=False).signs.any()
    assert len(PriorEdges.none(4).into(3)[0]) == 0


def test_drive_and_its_slopes() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3, 2, 6))
    none = Candidates.unseen(np.arange(1, 6), np.array([2]), np.array([-1]))
    assert list(none.sign) == [0, -1, 0, 0, 0]
    target = Target(
        0,
        none,
        1.0,
        1.0,
        members=np.array([4, 2]),
        coefficients=np.array([0.5, -1.0]),
        offset=0.2,
        pairs=np.array([[4, 4], [4, 2]]),
        pair_coefficients=np.array([0.3, 0.7]),
    )
    f4, f2 = features[..., 4], features[..., 2]
    assert np.allclose(target.drive(features), 0.2 + 0.5 * f4 - f2 + 0.3 * f4**2 + 0.7 * f4 * f2)
    slopes = target.slopes(features)
    assert np.allclose(slopes[..., 0], 0.5 + 0.6 * f4 + 0.7 * f2)
    assert np.allclose(slopes[..., 1], -1 + 0.7 * f4)


def test_feature_and_its_slope() -> None:
    x = np.linspace(-1, 2, 31) + 1e-3
    h = 1e-6
    assert np.allclose((phi(x + h) - phi(x - h)) / (2 * h), phi_slope(x), atol=1e-8)
    assert phi(np.array([0.5]))[0] == 0


def test_size_of_coefficients() -> None:
    assert np.allclose(Slab(level=np.log(2.0), slope=0.5).size(np.array([0.5, 1, 4])), [2, 2, 1])
