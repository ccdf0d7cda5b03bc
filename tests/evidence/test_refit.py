"""A drive is fitted to rows as they were measured, what all trajectories share included."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.evidence.columns import Features
from dash_hpc.evidence.refit import refit_drive
from dash_hpc.evidence.rows import CENTRED_FROM
from dash_hpc.evidence.state import Plain, phi
from tests.evidence import networks

PRECISIONS = {"intercept": 1e-9, "member": 1e-9, "product": 1e-9}


def test_a_course_that_all_trajectories_share_shows_its_coefficient() -> None:
    """Gene 0 relaxes alike everywhere and drives gene 1: centred rows hold nothing of it, the others hold all."""
    n = CENTRED_FROM + 2
    times = np.linspace(0.0, 9.0, 145)  # linear in between: an error of 1e-4
    known = networks.state(2, [networks.target(0, {}, 0.2), networks.target(1, {0: 0.9}, 0.4)], noise=1e-6)
    start = np.column_stack([np.full(n, 0.9), np.linspace(0.1, 0.8, n)])
    values = networks.simulate(known, np.ones(2), start, times)
    blocks = [networks.block(values, times)]
    courses = (np.ascontiguousarray(values[:, np.searchsorted(times, blocks[0].grid - 1e-9)]),)
    assert np.array_equal(times[np.searchsorted(times, blocks[0].grid - 1e-9)], blocks[0].grid)
    features = Features.of_courses(courses)
    known.centre = features.centre
    parts = networks.parts(blocks, known, np.ones(2))[1]
    assert all(part.centred for part in parts)
    target = networks.target(1, {0: 0.0}, 0.0)
    refit_drive(target, parts, features, Plain(courses), **PRECISIONS)
    assert target.coefficients == pytest.approx([0.9], abs=5e-4)
    assert target.offset + target.coefficients[0] * -features.centre[0] == pytest.approx(0.4, abs=5e-4)


def test_it_is_the_weighted_ridge_regression() -> None:
    """Against one least-squares problem with a row per prior, as NumPy solves it."""
    rng = np.random.default_rng(5)
    known = networks.state(3, [networks.target(2, {0: 0.5, 1: -0.4}, 0.5)], noise=1e-4)
    values = networks.simulate(known, np.ones(3), rng.uniform(0.1, 0.9, (14, 3)), networks.TIMES)
    values += rng.normal(0, 0.02, values.shape)
    blocks = [networks.block(values)]
    grid = blocks[0].grid
    courses = (
        np.stack(
            [np.stack([np.interp(grid, networks.TIMES, values[i, :, g]) for g in range(3)], 1) for i in range(14)]
        ),
    )
    features = Features.of_courses(courses)
    parts = networks.parts(blocks, known, np.ones(3))[2]
    target = networks.target(2, {0: 0.0, 1: 0.0}, 0.0)
    target.pairs, target.pair_coefficients = np.array([[0, 1]]), np.zeros(1)
    prior = {"intercept": 0.1, "member": 0.25, "product": 4.0}
    refit_drive(target, parts, features, Plain(courses), **prior)

    (part,) = parts
    f = phi(courses[0]) - features.centre
    functions = np.stack([np.ones(f.shape[:2]), f[..., 0], f[..., 1], f[..., 0] * f[..., 1]], -1)  # (N, U, 4)
    rows = np.einsum("kr,ku,nuq->nrq", part.rows, part.weights, functions)
    sd = np.sqrt(np.r_[target.drive_variance, np.full(rows.shape[1] - 1, target.other_variance)])
    design = (rows / sd[:, None]).reshape(-1, 4)
    ridge = np.diag(np.sqrt([0.1, 0.25, 0.25, 4.0]))
    want = np.linalg.lstsq(np.r_[design, ridge], np.r_[(part.z / sd).ravel(), np.zeros(4)], rcond=None)[0]
    found = [target.offset, *target.coefficients, *target.pair_coefficients]
    assert found == pytest.approx(want.tolist(), rel=1e-8)
